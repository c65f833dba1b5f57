package flannel

import (
	"encoding/json"
	"maps"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What flannel v0.28 wrote on a dual-stack node of its own.
func upstream() *v1.Node {
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "theirs", Annotations: map[string]string{
			"flannel.alpha.coreos.com/backend-data":        `{"VNI":1,"VtepMAC":"ee:6a:06:5c:05:5c"}`,
			"flannel.alpha.coreos.com/backend-type":        "vxlan",
			"flannel.alpha.coreos.com/backend-v6-data":     `{"VNI":1,"VtepMAC":"9e:3c:36:6a:a0:1f"}`,
			"flannel.alpha.coreos.com/kube-subnet-manager": "true",
			"flannel.alpha.coreos.com/public-ip":           "10.0.0.2",
			"flannel.alpha.coreos.com/public-ipv6":         "fd00:77::2",
		}},
		Spec: v1.NodeSpec{PodCIDR: "10.244.1.0/24", PodCIDRs: []string{"10.244.1.0/24", "fd00:244:0:1::/64"}},
	}
}

func TestPeerOfUpstream(t *testing.T) {
	got, ok := peerOf(upstream())
	want := peer{
		node: "theirs", backend: VXLAN, cidrs: prefixes("10.244.1.0/24", "fd00:244:0:1::/64"),
		v4: endpoint{netip.MustParseAddr("10.0.0.2"), "ee:6a:06:5c:05:5c"},
		v6: endpoint{netip.MustParseAddr("fd00:77::2"), "9e:3c:36:6a:a0:1f"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(peer{}, endpoint{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" || !ok {
		t.Errorf("%t: %s", ok, diff)
	}
	// What we would have written in its place is what it wrote.
	if diff := cmp.Diff(upstream().Annotations, got.announced(nil)); diff != "" {
		t.Error(diff)
	}
}

func TestPeerThatSaysNothing(t *testing.T) {
	n := upstream()
	delete(n.Annotations, annotationManaged)
	if p, ok := peerOf(n); ok {
		t.Errorf("got %+v", p)
	}
}

func TestPeerThatTalksNonsense(t *testing.T) {
	n := upstream()
	n.Annotations[annotationData], n.Annotations[annotationIPv6], n.Spec.PodCIDRs = `{"VtepMAC": 7}`, "somewhere", []string{"10.244.1.0", "10.244.1.0/24"}
	p, _ := peerOf(n)
	if p.v4.mac != "" || p.v6.addr.IsValid() || len(p.cidrs) != 1 {
		t.Errorf("got %+v", p)
	}
}

func TestAnnouncement(t *testing.T) {
	me := peer{backend: HostGW, v4: endpoint{addr: netip.MustParseAddr("10.0.0.1")}}
	now := maps.Clone(upstream().Annotations)
	now["example.org/mine"], now[annotationSay] = "kept", "192.0.2.7"
	patch, err := announcement(now, me.announced(now))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Metadata struct{ Annotations map[string]*string }
	}
	if err := json.Unmarshal(patch, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]*string{
		annotationBackend: new("host-gw"), annotationData: new("null"),
		annotationIP:   new("192.0.2.7"), // as the user says
		annotationIPv6: nil, annotationDataV6: nil,
	}
	if diff := cmp.Diff(want, got.Metadata.Annotations); diff != "" {
		t.Error(diff)
	}
	for key, value := range want {
		if value == nil {
			delete(now, key)
		} else {
			now[key] = *value
		}
	}
	if again, err := announcement(now, me.announced(now)); err != nil || again != nil {
		t.Errorf("again %s, %v", again, err)
	}
}

func TestConf(t *testing.T) {
	for _, c := range []Conf{
		{prefixes("10.244.0.0/16"), VXLAN}, {prefixes("10.244.0.0/16", "fd00:244::/56"), HostGW}, {prefixes("fd00:244::/56"), Alloc},
	} {
		text, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseConf(text)
		if diff := cmp.Diff(c, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" || err != nil {
			t.Errorf("%v: %s", err, diff)
		}
	}
	// As it is in the ConfigMap of flannel's own manifest.
	got, err := ParseConf(`{"Network": "10.244.0.0/16", "EnableNFTables": false, "Backend": {"Type": "vxlan"}}`)
	if err != nil || got.Backend != VXLAN || len(got.ClusterCIDRs) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{``, `{`, `{"Network": "10.244.0.0", "Backend": {"Type": "vxlan"}}`, `{"Backend": {"Type": "udp"}}`} {
		if got, err := ParseConf(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}
