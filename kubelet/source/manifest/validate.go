package manifest

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// A checker collects what the API server would refuse when the pod is created
// (SP-12). It covers what keeps a container from starting well or the mirror
// from being made; odd corners that do neither are left to the API server.
type checker struct {
	pod  *v1.Pod
	errs field.ErrorList
}

// validationIssues returns everything invalid about a defaulted static pod.
func validationIssues(p *v1.Pod) []Issue {
	c := &checker{pod: p}
	c.metadata()
	c.podSpec(field.NewPath("spec"))
	issues := make([]Issue, len(c.errs))
	for i, e := range c.errs {
		issues[i] = Issue{Field: e.Field, Message: e.ErrorBody()}
	}
	return issues
}

func (c *checker) add(errs ...*field.Error) { c.errs = append(c.errs, errs...) }

// invalid notes a value for each complaint about it.
func (c *checker) invalid(path *field.Path, value any, complaints ...string) {
	for _, complaint := range complaints {
		c.add(field.Invalid(path, value, complaint))
	}
}

// oneOf notes a value that is not among those allowed.
func oneOf[T ~string](c *checker, path *field.Path, value T, allowed ...T) {
	if !slices.Contains(allowed, value) {
		c.add(field.NotSupported(path, value, allowed))
	}
}

// optional notes the value of an optional field that is not among those allowed.
func optional[T ~string](c *checker, path *field.Path, value *T, allowed ...T) {
	if value != nil {
		oneOf(c, path, *value, allowed...)
	}
}

func (c *checker) metadata() {
	path := field.NewPath("metadata")
	c.add(apivalidation.ValidateObjectMeta(&c.pod.ObjectMeta, true, apivalidation.NameIsDNSSubdomain, path)...)
}

func (c *checker) podSpec(path *field.Path) {
	s := &c.pod.Spec
	c.podScalars(path)
	c.podNames(path)
	c.podSecurity(path.Child("securityContext"), s.SecurityContext)
	c.dns(path.Child("dnsConfig"))
	c.hostAliases(path.Child("hostAliases"))
	c.tolerations(path.Child("tolerations"))
	c.volumes(path.Child("volumes"))
	c.containers(path)
	c.forbidden(path)
}

func (c *checker) podScalars(path *field.Path) {
	s := &c.pod.Spec
	oneOf(c, path.Child("restartPolicy"), s.RestartPolicy,
		v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever)
	oneOf(c, path.Child("dnsPolicy"), s.DNSPolicy,
		v1.DNSClusterFirst, v1.DNSClusterFirstWithHostNet, v1.DNSDefault, v1.DNSNone)
	optional(c, path.Child("preemptionPolicy"), s.PreemptionPolicy, v1.PreemptLowerPriority, v1.PreemptNever)
	if d := s.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > math.MaxInt32) {
		c.invalid(path.Child("activeDeadlineSeconds"), *d, validation.InclusiveRangeError(1, math.MaxInt32))
	}
	if s.OS != nil && s.OS.Name != v1.Linux {
		c.add(field.NotSupported(path.Child("os", "name"), s.OS.Name, []v1.OSName{v1.Linux}))
	}
	if s.HostPID && ptr.Deref(s.ShareProcessNamespace, false) {
		c.invalid(path.Child("shareProcessNamespace"), true, "cannot be combined with hostPID")
	}
	if s.Resources != nil {
		c.resources(path.Child("resources"), s.Resources)
	}
	for name, quantity := range s.Overhead {
		c.quantity(path.Child("overhead").Key(string(name)), quantity)
	}
}

func (c *checker) podNames(path *field.Path) {
	s := &c.pod.Spec
	c.invalid(path.Child("nodeName"), s.NodeName, validation.IsDNS1123Subdomain(s.NodeName)...)
	if s.Hostname != "" {
		c.invalid(path.Child("hostname"), s.Hostname, validation.IsDNS1123Label(s.Hostname)...)
	}
	if s.Subdomain != "" {
		c.invalid(path.Child("subdomain"), s.Subdomain, validation.IsDNS1123Label(s.Subdomain)...)
	}
	if s.PriorityClassName != "" {
		c.invalid(path.Child("priorityClassName"), s.PriorityClassName, validation.IsDNS1123Subdomain(s.PriorityClassName)...)
	}
	if s.RuntimeClassName != nil {
		c.invalid(path.Child("runtimeClassName"), *s.RuntimeClassName, validation.IsDNS1123Subdomain(*s.RuntimeClassName)...)
	}
	c.add(metav1validation.ValidateLabels(s.NodeSelector, path.Child("nodeSelector"))...)
}

// forbidden notes what a pod cannot have from the start (SP-12), and what does
// not go together with a user namespace.
func (c *checker) forbidden(path *field.Path) {
	s := &c.pod.Spec
	if len(s.EphemeralContainers) > 0 {
		c.add(field.Forbidden(path.Child("ephemeralContainers"), "cannot be set on create"))
	}
	if len(s.SchedulingGates) > 0 {
		c.add(field.Forbidden(path.Child("schedulingGates"), "a pod that has its node cannot wait to be scheduled"))
	}
	if ptr.Deref(s.HostUsers, true) {
		return
	}
	for name, set := range map[string]bool{"hostPID": s.HostPID, "hostIPC": s.HostIPC, "hostNetwork": s.HostNetwork} {
		if set {
			c.add(field.Forbidden(path.Child(name), "not together with hostUsers: false"))
		}
	}
}

func (c *checker) podSecurity(path *field.Path, s *v1.PodSecurityContext) {
	c.id(path.Child("runAsUser"), s.RunAsUser, validation.IsValidUserID)
	c.id(path.Child("runAsGroup"), s.RunAsGroup, validation.IsValidGroupID)
	c.id(path.Child("fsGroup"), s.FSGroup, validation.IsValidGroupID)
	for i := range s.SupplementalGroups {
		c.id(path.Child("supplementalGroups").Index(i), &s.SupplementalGroups[i], validation.IsValidGroupID)
	}
	optional(c, path.Child("fsGroupChangePolicy"), s.FSGroupChangePolicy, v1.FSGroupChangeOnRootMismatch, v1.FSGroupChangeAlways)
	optional(c, path.Child("supplementalGroupsPolicy"), s.SupplementalGroupsPolicy,
		v1.SupplementalGroupsPolicyMerge, v1.SupplementalGroupsPolicyStrict)
	c.seccomp(path.Child("seccompProfile"), s.SeccompProfile)
	c.appArmor(path.Child("appArmorProfile"), s.AppArmorProfile)
	seen := map[string]bool{}
	for i, sysctl := range s.Sysctls {
		at := path.Child("sysctls").Index(i).Child("name")
		switch {
		case sysctl.Name == "":
			c.add(field.Required(at, ""))
		case seen[sysctl.Name]:
			c.add(field.Duplicate(at, sysctl.Name))
		}
		seen[sysctl.Name] = true
	}
}

func (c *checker) id(path *field.Path, id *int64, valid func(int64) []string) {
	if id != nil {
		c.invalid(path, *id, valid(*id)...)
	}
}

// The limits of resolv.conf that the API server holds pods to.
const (
	maxNameservers = 3
	maxSearches    = 32
	maxSearchChars = 2048
)

func (c *checker) dns(path *field.Path) {
	d := c.pod.Spec.DNSConfig
	if c.pod.Spec.DNSPolicy == v1.DNSNone && (d == nil || len(d.Nameservers) == 0) {
		c.add(field.Required(path.Child("nameservers"), "dnsPolicy None leaves the pod without any other"))
	}
	if d == nil {
		return
	}
	if len(d.Nameservers) > maxNameservers {
		c.add(field.TooMany(path.Child("nameservers"), len(d.Nameservers), maxNameservers))
	}
	for i, server := range d.Nameservers {
		c.ip(path.Child("nameservers").Index(i), server)
	}
	if len(d.Searches) > maxSearches || len(strings.Join(d.Searches, " ")) > maxSearchChars {
		c.invalid(path.Child("searches"), d.Searches,
			fmt.Sprintf("must be at most %d domains of %d characters together", maxSearches, maxSearchChars))
	}
	for i, search := range d.Searches {
		if search != "." {
			c.invalid(path.Child("searches").Index(i), search,
				validation.IsDNS1123SubdomainWithUnderscore(strings.TrimSuffix(search, "."))...)
		}
	}
	for i, option := range d.Options {
		if option.Name == "" {
			c.add(field.Required(path.Child("options").Index(i).Child("name"), ""))
		}
	}
}

func (c *checker) ip(path *field.Path, value string) {
	if _, err := netip.ParseAddr(value); err != nil {
		c.invalid(path, value, "must be an IP address, such as 10.9.8.7 or 2001:db8::ffff")
	}
}

func (c *checker) hostAliases(path *field.Path) {
	for i, alias := range c.pod.Spec.HostAliases {
		c.ip(path.Index(i).Child("ip"), alias.IP)
		for j, name := range alias.Hostnames {
			c.invalid(path.Index(i).Child("hostnames").Index(j), name, validation.IsDNS1123Subdomain(name)...)
		}
	}
}

func (c *checker) tolerations(path *field.Path) {
	for i, t := range c.pod.Spec.Tolerations {
		at := path.Index(i)
		if t.Key != "" {
			c.add(metav1validation.ValidateLabelName(t.Key, at.Child("key"))...)
		} else if t.Operator != v1.TolerationOpExists {
			c.invalid(at.Child("operator"), t.Operator, "must be Exists where there is no key")
		}
		if t.TolerationSeconds != nil && t.Effect != v1.TaintEffectNoExecute {
			c.invalid(at.Child("effect"), t.Effect, "must be NoExecute where there are tolerationSeconds")
		}
		oneOf(c, at.Child("operator"), t.Operator, "", v1.TolerationOpEqual, v1.TolerationOpExists)
		oneOf(c, at.Child("effect"), t.Effect, "",
			v1.TaintEffectNoSchedule, v1.TaintEffectPreferNoSchedule, v1.TaintEffectNoExecute)
		if t.Operator == v1.TolerationOpExists && t.Value != "" {
			c.invalid(at.Child("value"), t.Value, "must be empty where the operator is Exists")
		}
	}
}
