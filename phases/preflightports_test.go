package phases

import (
	"fmt"
	"strings"
	"testing"
)

func TestPreflightPorts(t *testing.T) {
	// 127.0.0.1, 0.0.0.0, 192.0.2.10 and 192.0.2.11 as the kernel prints them.
	const local, all, node, other = "0100007F", "00000000", "0A0200C0", "0B0200C0"
	for name, tc := range map[string]struct {
		sockets []string // addr:port command
		tcp6    string
		ours    bool
		running bool
		stops   []string
	}{
		"free":         {},
		"other ports":  {sockets: []string{all + ":0016 sshd"}},
		"API server's": {sockets: []string{all + ":192B nginx"}, stops: []string{"[Port-6443] port 6443 is in use by nginx (pid 200): it is that of kube-apiserver: stop it"}},
		"all at once": {
			sockets: []string{local + ":192B a", local + ":2813 b", all + ":2811 c", node + ":280A d", local + ":094B e", node + ":094C f"},
			stops: []string{
				"[Port-6443] port 6443 is in use by a ", "[Port-10259] port 10259 is in use by b ", "[Port-10257] port 10257 is in use by c ",
				"[Port-10250] port 10250 is in use by d ", "[Port-2379] port 2379 is in use by e ", "[Port-2380] port 2380 is in use by f ",
			},
		},
		"where the node reaches the API": {
			sockets: []string{local + ":1D13 nginx"},
			stops:   []string{"[Port-7443] port 7443 is in use by nginx (pid 200): it is that of boot: stop it"},
		},
		"at other addresses": {sockets: []string{node + ":1D13 a", node + ":2813 a", other + ":094B b", local + ":094C c"}},
		"on IPv6":            {tcp6: "00000000000000000000000000000000:192B a", stops: []string{"[Port-6443] port 6443 is in use by a "}},
		"ours": {
			sockets: []string{all + ":192B kube-apiserver", local + ":2811 kube-controller", local + ":094B etcd", all + ":280A boot"},
			ours:    true, running: true,
		},
		"names of ours, without us": {
			sockets: []string{local + ":094B etcd"},
			stops:   []string{"[Port-2379] port 2379 is in use by etcd (pid 200): "},
		},
		"ours, and one that is not": {
			sockets: []string{all + ":192B nginx", local + ":094B etcd"}, ours: true,
			stops: []string{"[Port-6443] port 6443 is in use by nginx "},
		},
		"loop that does not run": {
			sockets: []string{all + ":280A kubelet"}, ours: true,
			stops: []string{"[Kubelet] another kubelet runs", "[Port-10250] port 10250 is in use by kubelet "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTestHost(t)
			if tc.running {
				h.p.Service = &fakeService{running: true}
			}
			if tc.ours {
				h.begun()
			}
			table := func(sockets []string, first int) string {
				var lines []string
				for i, s := range sockets {
					addr, command, _ := strings.Cut(s, " ")
					inode := fmt.Sprint(first + i)
					lines = append(lines, addr+" "+inode)
					h.process(first+i, command, inode)
				}
				return tcpTable(lines...)
			}
			h.file("proc/self/net/tcp", table(tc.sockets, 200))
			if tc.tcp6 != "" {
				h.file("proc/self/net/tcp6", table([]string{tc.tcp6}, 300))
			}
			_, _, stops := h.plan()
			wantBeginnings(t, "stopped by", stops, tc.stops)
		})
	}
}

func TestPreflightUnseenOwner(t *testing.T) {
	h := newTestHost(t)
	h.file("proc/self/net/tcp", tcpTable("00000000:192B 77"))
	_, _, stops := h.plan()
	wantBeginnings(t, "stopped by", stops, []string{"[Port-6443] port 6443 is in use by a process that this one cannot see: "})
}

func TestParseSocketAddr(t *testing.T) {
	for s, want := range map[string]string{
		"0100007F:1F90":                         "127.0.0.1:8080",
		"00000000000000000000000001000000:0016": "[::1]:22",
		"0000000000000000FFFF00000100007F:0016": "127.0.0.1:22",
	} {
		got, err := parseSocketAddr(s)
		if err != nil || got.String() != want {
			t.Errorf("%s: %s, %v; want %s", s, got, err, want)
		}
	}
	for _, bad := range []string{"", "0100007F", "0100:0016", "xx:0016", "0100007F:10000"} {
		if got, err := parseSocketAddr(bad); err == nil {
			t.Errorf("%q: %s", bad, got)
		}
	}
}
