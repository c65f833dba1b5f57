package scene

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// resources reads cpu=REQUEST/LIMIT and memory=REQUEST/LIMIT, of which either
// part may be missing.
func resources(a *args) v1.ResourceRequirements {
	var all v1.ResourceRequirements
	put := func(list *v1.ResourceList, name v1.ResourceName, text string) {
		if text == "" {
			return
		}
		q, err := resource.ParseQuantity(text)
		if err != nil {
			a.err = err
		}
		if *list == nil {
			*list = v1.ResourceList{}
		}
		(*list)[name] = q
	}
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		request, limit, _ := strings.Cut(a.text(string(name), ""), "/")
		put(&all.Requests, name, request)
		put(&all.Limits, name, limit)
	}
	return all
}

func (p *parser) applied(a *args) {
	name := a.subject
	if name == "pod" {
		name = ""
	}
	if p.Have.Applied == nil {
		p.Have.Applied = map[string]v1.ResourceRequirements{}
	}
	p.Have.Applied[name] = resources(a)
}
