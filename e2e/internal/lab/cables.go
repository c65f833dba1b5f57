package lab

import (
	"fmt"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The network is one switch, until it is split.
const (
	mainSwitch  = "lan"
	otherSwitch = "split"
)

func portName(port int) string { return fmt.Sprint("port", port) }

// Cut unplugs the cable of a node, which can tell: its interface has no carrier.
func (l *LAN) Cut(n *Node) error {
	return l.port(n, "cut", (*netlink.Handle).LinkSetDown)
}

// Mend puts the cable in again.
func (l *LAN) Mend(n *Node) error {
	return l.port(n, "mend", (*netlink.Handle).LinkSetUp)
}

// Split has the nodes reach each other alone, and be reached by none of the
// rest. Nobody is told: what they send to the other side is lost. There are two
// sides, so a second split goes with the first.
func (l *LAN) Split(nodes ...*Node) error { return l.move(otherSwitch, nodes) }

// Heal brings nodes back from the other side.
func (l *LAN) Heal(nodes ...*Node) error { return l.move(mainSwitch, nodes) }

func (l *LAN) move(to string, nodes []*Node) error {
	for _, n := range nodes {
		if err := l.port(n, "move", func(h *netlink.Handle, port netlink.Link) error {
			master, err := h.LinkByName(to)
			if err != nil {
				return err
			}
			return h.LinkSetMaster(port, master)
		}); err != nil {
			return err
		}
	}
	return nil
}

// Slow limits what a node sends and receives, each way, to a number of bytes a
// second; 0 lifts the limit. What is more waits up to a tenth of a second, and
// is lost then.
func (l *LAN) Slow(n *Node, bytesPerSecond uint64) error {
	limit := func(h *netlink.Handle, link netlink.Link) error {
		if bytesPerSecond == 0 {
			return h.QdiscDel(&netlink.GenericQdisc{QdiscAttrs: root(link), QdiscType: "tbf"})
		}
		return h.QdiscReplace(&netlink.Tbf{
			QdiscAttrs: root(link),
			Rate:       bytesPerSecond,
			Buffer:     burst,
			Limit:      uint32(min(bytesPerSecond/10+burst, 1<<30)),
		})
	}
	if err := l.port(n, "slow", limit); err != nil {
		return err
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.on == nil {
		return fmt.Errorf("slow the cable of %s: %w", n.Name, errOff)
	}
	return in(n.on.net(), func(h *netlink.Handle) error {
		eth0, err := h.LinkByName("eth0")
		if err != nil {
			return err
		}
		return limit(h, eth0)
	})
}

// burst is how many bytes go at once: one packet, as large as they get inside a
// host.
const burst = 64 << 10

func root(link netlink.Link) netlink.QdiscAttrs {
	return netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
}

// Drop loses some of a node's packets, each way, at random: 0 to 99 of 100.
func (l *LAN) Drop(n *Node, percent int) error {
	port := portName(n.port)
	rules := fmt.Sprintf("table bridge drop-%s\ndelete table bridge drop-%[1]s\n", port)
	if percent > 0 {
		rules += fmt.Sprintf(`table bridge drop-%s {
	chain in {
		type filter hook prerouting priority 0
		iifname "%[1]s" numgen random mod 1000 < %[2]d drop
	}
	chain out {
		type filter hook postrouting priority 0
		oifname "%[1]s" numgen random mod 1000 < %[2]d drop
	}
}
`, port, min(10*percent, 999))
	}
	return onThread(func() error {
		if err := unix.Setns(int(l.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		cmd := exec.Command("nft", "-f", "-") //nolint:noctx // it is quick
		cmd.Stdin = strings.NewReader(rules)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("drop packets of %s: %w: %s", n.Name, err, out)
		}
		return nil
	})
}

// port does something with the switch's end of a node's cable.
func (l *LAN) port(n *Node, what string, f func(*netlink.Handle, netlink.Link) error) error {
	err := in(l.ns, func(h *netlink.Handle) error {
		port, err := h.LinkByName(portName(n.port))
		if err != nil {
			return err
		}
		return f(h, port)
	})
	if err != nil {
		return fmt.Errorf("%s the cable of %s: %w", what, n.Name, err)
	}
	return nil
}
