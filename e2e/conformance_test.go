//go:build conformance

package e2e

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"boot.internal/e2e/internal/lab"
)

// Where the tests leave their report on the node.
const reportDir = "/var/log/conformance"

// Upstream's own end-to-end tests run against a cluster of one node. Which of
// them, and against which kubelet, the environment says: see `make conformance`.
//
//	CONFORMANCE_DIR      what `make images-conformance` built
//	CONFORMANCE_FOCUS    a regular expression on the names of tests to run
//	CONFORMANCE_SKIP     the same, of those to leave out; empty: none
//	CONFORMANCE_PROCS    how many tests at a time
//	CONFORMANCE_OUT      a directory for the log, the report and the summary
//	CONFORMANCE_KUBELET  "upstream" for kubeadm and the kubelet, to compare with
func TestConformance(t *testing.T) {
	r := conformance{
		dir: need(t, "CONFORMANCE_DIR"), out: need(t, "CONFORMANCE_OUT"), focus: need(t, "CONFORMANCE_FOCUS"),
		skip: os.Getenv("CONFORMANCE_SKIP"), procs: need(t, "CONFORMANCE_PROCS"),
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		t.Fatal(err)
	}
	n := machine(t)
	r.importImages(t, n)
	if os.Getenv("CONFORMANCE_KUBELET") == "upstream" {
		upstreamCluster(t, n)
	} else {
		n.Boot(t, append([]string{"init"}, anyDisk(t, n)...)...)
	}
	// Tests run on nodes that take any pod.
	n.Kubectl(t, "taint", "node", n.Name, "node-role.kubernetes.io/control-plane-")
	n.Kubectl(t, "wait", "-n", "kube-system", "--for=condition=Available", "deployment/coredns", "--timeout=180s")
	r.offerSnapshots(t, n)

	r.report(t, n, r.run(t, n))
}

func need(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("$%s is not set: run `make conformance`", name)
	}
	return value
}

// A conformance is one run of the tests.
type conformance struct{ dir, out, focus, skip, procs string }

// importImages puts the images of the tests where those of the components are.
func (r conformance) importImages(t *testing.T, n *lab.Node) {
	t.Helper()
	archives, err := filepath.Glob(filepath.Join(r.dir, "images/*.tar"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("no images in %s: %v; run `make images-conformance`", r.dir, err)
	}
	for _, a := range archives {
		n.Run(t, "ln", "-s", a, filepath.Join("/var/lib/boot/images", filepath.Base(a)))
	}
}

// offerSnapshots gives the cluster what tests of CSI drivers expect to find.
func (r conformance) offerSnapshots(t *testing.T, n *lab.Node) {
	t.Helper()
	if regexp.MustCompile(`(?i)csi|snapshot`).MatchString(r.focus) {
		n.Kubectl(t, "apply", "--server-side", "-f", filepath.Join(r.dir, "manifests"))
	}
}

// run runs the tests on the node, as an administrator would.
func (r conformance) run(t *testing.T, n *lab.Node) lab.Output {
	t.Helper()
	return r.log(t, n,
		filepath.Join(r.dir, "bin/ginkgo"), "--procs="+r.procs, "--no-color", "--timeout=24h",
		"--focus="+r.focus, "--skip="+r.skip, filepath.Join(r.dir, "bin/e2e.test"), "--",
		"--provider=skeleton", "--kubeconfig="+adminConf, "--kubectl-path="+lab.Component(t, "bin/kubectl"),
		"--num-nodes=1", "--allowed-not-ready-nodes=10", "--dns-domain=cluster.local", "--report-dir="+reportDir)
}

// log runs a program on the node and keeps what it prints.
func (r conformance) log(t *testing.T, n *lab.Node, args ...string) lab.Output {
	t.Helper()
	log, err := os.Create(filepath.Join(r.out, "e2e.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the report is what counts
	cmd := n.Command(t.Context(), args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its code says how it ended
	return lab.Output{Code: cmd.ProcessState.ExitCode()}
}

// report keeps what became of the tests, and fails where one of them did.
func (r conformance) report(t *testing.T, n *lab.Node, ended lab.Output) {
	t.Helper()
	results := r.results(t, n)
	summary := summarise(results)
	if err := os.WriteFile(filepath.Join(r.out, "summary.txt"), []byte(summary), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", summary)
	if ended.Code != 0 {
		t.Errorf("the tests ended with code %d: see %s", ended.Code, r.out)
	}
	if !slices.ContainsFunc(results, func(r result) bool { return r.Status != skipped }) {
		t.Error("no test ran: are focus and skip right?")
	}
}

// skipped is the status of a test that was left out.
const skipped = "skipped"

// A result is what became of a test.
type result struct {
	Name    string `xml:"name,attr"`
	Status  string `xml:"status,attr"`
	Seconds string `xml:"time,attr"`
	Failure struct {
		Message string `xml:",chardata"`
	} `xml:"failure"`
	Skipped struct {
		Message string `xml:"message,attr"`
	} `xml:"skipped"`
}

// notChosen is why a test was left out that the focus does not name.
const notChosen = "skipped"

// results keeps the report and returns what became of the tests that ran.
func (r conformance) results(t *testing.T, n *lab.Node) []result {
	t.Helper()
	text := n.ReadFile(t, filepath.Join(reportDir, "junit_01.xml"))
	if err := os.WriteFile(filepath.Join(r.out, "junit.xml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var report struct {
		Cases []result `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal([]byte(text), &report); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(report.Cases, func(c result) bool {
		return !strings.HasPrefix(c.Name, "[It]") || c.Skipped.Message == notChosen
	})
}

// summarise counts results, and says why tests failed or left themselves out.
func summarise(results []result) string {
	counts := map[string]int{}
	var lines []string
	for _, c := range results {
		counts[c.Status]++
		line := fmt.Sprintf("%-8s %6ss  %s", c.Status, c.Seconds, strings.TrimPrefix(c.Name, "[It] "))
		if why := cmp.Or(c.Failure.Message, c.Skipped.Message); why != "" {
			line += "\n         " + firstLines(why)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	var b strings.Builder
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "%d %s\n", counts[status], status)
	}
	return b.String() + "\n" + strings.Join(lines, "\n") + "\n"
}

// firstLines keeps what a person reads of a long message.
func firstLines(message string) string {
	message = regexp.MustCompile(`\s+`).ReplaceAllString(message, " ")
	return message[:min(len(message), 400)]
}
