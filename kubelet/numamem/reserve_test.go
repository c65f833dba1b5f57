package numamem

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/hint"
	"boot.internal/kubelet/numa"
)

func TestReserve(t *testing.T) {
	const hintText = "write into reservedMemory how much of systemReserved, kubeReserved and memory.available of evictionHard, taken together, each NUMA node is to keep"
	nodes := []numa.Node{{ID: 0}, {ID: 1}}
	for _, test := range []struct{ kept, by, want string }{
		{"memory=1Gi cpu=1", "0:memory=1Gi", "map[0:map[memory:1073741824]]"},
		{"memory=1124Mi", "0:memory=1Gi 1:memory=100Mi", "map[0:map[memory:1073741824] 1:map[memory:104857600]]"},
		{"memory=1Gi", "2:memory=1Gi", "the reserved memory configuration references a NUMA node 2 that does not exist on this machine"},
		{"memory=1Gi", "0:memory=1Gi 1:memory=100Mi", `the total amount "1124Mi" of type "memory" is not equal to the value "1Gi" determined by Node Allocatable feature`},
		{"memory=1Gi", "", `the total amount "0" of type "memory" is not equal to the value "1Gi" determined by Node Allocatable feature`},
		{"memory=1Gi", "0:memory=1Gi 0:hugepages-1Gi=2Gi", `the total amount "2Gi" of type "hugepages-1Gi" is not equal to the value "0" determined by Node Allocatable feature`},
		{"cpu=1", "", "[memorymanager] you should specify the system reserved memory"},
		{"memory=1500m", "0:memory=1500m", "could not covert a variable of type Quantity to int64"},
	} {
		kept := v1.ResourceList{}
		for text := range strings.FieldsSeq(test.kept) {
			name, q, _ := strings.Cut(text, "=")
			kept[v1.ResourceName(name)] = resource.MustParse(q)
		}
		var by []kubeletv1beta1.MemoryReservation
		for text := range strings.FieldsSeq(test.by) {
			node, text, _ := strings.Cut(text, ":")
			name, q, _ := strings.Cut(text, "=")
			id, _ := strconv.Atoi(node)
			by = append(by, kubeletv1beta1.MemoryReservation{NumaNode: int32(id), Limits: v1.ResourceList{v1.ResourceName(name): resource.MustParse(q)}})
		}
		got, err := Reserve(nodes, kept, by)
		switch {
		case err == nil && fmt.Sprint(got) != test.want:
			t.Errorf("%s: %v", test.by, got)
		case err != nil && err.Error() != test.want:
			t.Errorf("%s: %v", test.by, err)
		case err != nil && hint.Of(err) != hintText && !strings.Contains(test.want, "covert"):
			t.Errorf("%s: hint %q", test.by, hint.Of(err))
		}
	}
}
