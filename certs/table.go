package certs

// Extended key usages, in cfssl's words.
const (
	server = "server auth"
	client = "client auth"
)

// A row is what one certificate has to be.
type row struct {
	name   string
	desc   string
	files  Pair
	ca     *row // who signs; nil: an authority, it signs itself
	cn     string
	org    string
	orgs   []string // further ones
	usages []string
	hosts  []string // names and addresses it must be good for
	// optional says that its user makes do without: where the CA is external,
	// it may be missing.
	optional bool
}

// clusterCA is the row of the authority all of Kubernetes trusts.
func clusterCA(o Options) row {
	return row{name: "ca", desc: "Generate the Kubernetes CA", files: Tree(o.Dir).CA, cn: "kubernetes"}
}

// clusterTable is the PKI of Kubernetes: names, files, subjects and usages are
// kubeadm's. Authorities stand before what they sign.
func clusterTable(o Options) []row {
	t := Tree(o.Dir)
	ca := clusterCA(o)
	proxyCA := row{name: "front-proxy-ca", desc: "Generate the front proxy's CA", files: t.FrontProxyCA, cn: "front-proxy-ca"}
	return []row{
		ca,
		{
			name: "apiserver", desc: "Generate the API server's serving certificate",
			files: t.APIServer, ca: &ca, cn: "kube-apiserver",
			usages: []string{server}, hosts: apiServerHosts(o),
		},
		{
			name: "apiserver-kubelet-client", desc: "Generate the certificate the API server calls kubelets with",
			files: t.APIServerKubeletClient, ca: &ca, cn: "kube-apiserver-kubelet-client",
			usages: []string{client},
		},
		{
			name: "kubelet", desc: "Generate the kubelet's serving certificate",
			files: KubeletTree(o.KubeletDir).Serving, ca: &ca, cn: nodeUser(o), org: "system:nodes",
			usages: []string{server}, hosts: []string{o.NodeName, o.AdvertiseAddress},
			optional: true, // kubelets can make up one of their own
		},
		proxyCA,
		{
			name: "front-proxy-client", desc: "Generate the front proxy's client certificate",
			files: t.FrontProxyClient, ca: &proxyCA, cn: "front-proxy-client",
			usages: []string{client},
		},
	}
}

// etcdTable is the PKI of etcd. Its servers dial one another, and themselves,
// with the certificates they serve with: those are good for both.
func etcdTable(o Options) []row {
	t := Tree(o.Dir)
	ca := row{name: "etcd-ca", desc: "Generate etcd's CA", files: t.EtcdCA, cn: "etcd-ca"}
	return []row{
		ca,
		{
			name: "etcd-server", desc: "Generate etcd's serving certificate",
			files: t.EtcdServer, ca: &ca, cn: o.NodeName,
			usages: []string{server, client}, hosts: etcdHosts(o, o.EtcdServerSANs),
		},
		{
			name: "etcd-peer", desc: "Generate the certificate etcd members talk to each other with",
			files: t.EtcdPeer, ca: &ca, cn: o.NodeName,
			usages: []string{server, client}, hosts: etcdHosts(o, o.EtcdPeerSANs),
		},
		{
			name: "etcd-healthcheck-client", desc: "Generate the certificate etcd's health is checked with",
			files: t.EtcdHealthcheckClient, ca: &ca, cn: "kube-etcd-healthcheck-client",
			usages: []string{client},
		},
		{
			name: "apiserver-etcd-client", desc: "Generate the certificate the API server calls etcd with",
			files: t.APIServerEtcdClient, ca: &ca, cn: "kube-apiserver-etcd-client",
			usages: []string{client},
		},
	}
}

// kubeconfigTable is who gets a kubeconfig, the kubelet first: it has a node to
// register. The other components of this node talk to the API server of this node.
func kubeconfigTable(o Options) []kubeconfig {
	t := KubeconfigTree(o.KubernetesDir)
	user := func(name, desc, cn, org string) row {
		return row{name: name, desc: desc, cn: cn, org: org, usages: []string{client}}
	}
	table := []kubeconfig{
		{
			row:  user("kubelet", "Generate the kubelet's kubeconfig", nodeUser(o), "system:nodes"),
			path: t.Kubelet, server: o.NodeEndpoint, serverName: o.NodeServerName, pem: KubeletTree(o.KubeletDir).Client,
		},
		{
			row:  user("controller-manager", "Generate the controller manager's kubeconfig", "system:kube-controller-manager", ""),
			path: t.ControllerManager, server: o.LocalEndpoint,
		},
		{
			row:  user("scheduler", "Generate the scheduler's kubeconfig", "system:kube-scheduler", ""),
			path: t.Scheduler, server: o.LocalEndpoint,
		},
		{
			row:  user("super-admin", "Generate the kubeconfig no rule of the cluster can lock out", "kubernetes-super-admin", "system:masters"),
			path: t.SuperAdmin, server: o.ControlPlaneEndpoint,
		},
		{
			row:  user("admin", "Generate the administrator's kubeconfig", "kubernetes-admin", "kubeadm:cluster-admins"),
			path: t.Admin, server: o.ControlPlaneEndpoint,
		},
	}
	for i := range table {
		table[i].o, table[i].ca = o, authority{o, clusterCA(o)}
	}
	return table
}

func nodeUser(o Options) string { return "system:node:" + o.NodeName }

func apiServerHosts(o Options) []string {
	hosts := []string{
		o.NodeName, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc." + o.DNSDomain, o.ServiceIP, o.AdvertiseAddress,
	}
	if o.ControlPlaneHost != "" {
		hosts = append(hosts, o.ControlPlaneHost)
	}
	return append(hosts, o.APIServerSANs...)
}

func etcdHosts(o Options, more []string) []string {
	return append([]string{o.NodeName, "localhost", o.AdvertiseAddress, "127.0.0.1", "::1"}, more...)
}
