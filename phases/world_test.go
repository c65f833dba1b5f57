package phases

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloudflare/cfssl/log"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/certs"
	"boot.internal/config"
)

// TestMain silences cfssl, which tells of every certificate it signs.
func TestMain(m *testing.M) {
	log.Level = log.LevelError
	m.Run()
}

// A world is a node of which every file is in a directory of the test's, with
// an API server that does not run yet.
type world struct {
	*fakeAPI
	t      *testing.T
	cfg    *config.Init
	dirs   Dirs
	server *httptest.Server
}

// newWorld reads the configuration, on top of one with a fixed token.
func newWorld(t *testing.T, yaml string) *world {
	t.Helper()
	host := config.Host{
		Name:     "node-1",
		Default:  []netip.Addr{netip.MustParseAddr("192.0.2.10")},
		Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/24")},
	}
	o := config.InitOptions{Host: host}
	if yaml != "" {
		o.Path, o.Data = "test.yaml", []byte(yaml)
	}
	cfg, err := config.LoadInit(o)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cfg.Cluster.CertificatesDir = filepath.Join(dir, "etc/pki")
	cfg.Kubelet.StaticPodPath = filepath.Join(dir, "etc/manifests")
	if cfg.Cluster.Etcd.Local != nil {
		cfg.Cluster.Etcd.Local.DataDir = filepath.Join(dir, "etcd")
	}
	w := &world{fakeAPI: newFakeAPI(t), t: t, cfg: cfg, server: httptest.NewUnstartedServer(nil)}
	w.dirs = Dirs{Kubernetes: filepath.Join(dir, "etc"), Kubelet: filepath.Join(dir, "kubelet"), ProxyConfig: filepath.Join(dir, "kube-proxy/config.yaml"), State: filepath.Join(dir, "state")}
	local := w.server.Listener.Addr().(*net.TCPAddr)
	cfg.Init.LocalAPIEndpoint = config.APIEndpoint{AdvertiseAddress: local.IP.String(), BindPort: int32(local.Port)}
	t.Cleanup(w.server.Close)
	return w
}

const withToken = `
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens: [{token: abcdef.0123456789abcdef, expires: "2100-01-01T00:00:00Z"}]
`

// running is a world with a PKI, whose API server runs.
func running(t *testing.T, yaml string) *world {
	t.Helper()
	w := newWorld(t, yaml)
	w.makeCerts()
	w.start(w.server, w.tree())
	return w
}

func (w *world) tree() certs.Paths { return certs.Tree(w.cfg.Cluster.CertificatesDir) }

func (w *world) options() InitOptions {
	return InitOptions{Config: w.cfg, Dirs: w.dirs}
}

func (w *world) makeCerts() {
	w.t.Helper()
	o, err := pkiOptions(w.cfg, w.dirs)
	if err != nil {
		w.t.Fatal(err)
	}
	w.run(itemSteps(certs.New(o).All())...)
}

// api waits for as long as a busy machine may need for an answer. Tests of its
// patience give it less.
func (w *world) api() apiServer {
	w.cfg.Init.Timeouts.KubernetesAPICall = &metav1.Duration{Duration: 30 * time.Second}
	return w.options().api()
}

// run runs the steps and returns the changes made.
func (w *world) run(steps ...Step) []string {
	w.t.Helper()
	changes, err := runSteps(w.t.Context(), Runner{}, steps...)
	if err != nil {
		w.t.Fatal(err)
	}
	return changes
}

func (w *world) runPhase(p Phase) []string {
	w.t.Helper()
	return w.run(Step{Name: "phase", Phase: p})
}

// runSteps returns the descriptions of all changes that were begun.
func runSteps(ctx context.Context, r Runner, steps ...Step) ([]string, error) {
	var changes []string
	r.Report = func(e Event) {
		if e.State == Changing {
			changes = append(changes, e.Text)
		}
	}
	err := r.Run(ctx, steps)
	return changes, err
}

// plan returns the descriptions of what p would change.
func (w *world) plan(p Phase) []string {
	w.t.Helper()
	changes, err := runSteps(w.t.Context(), Runner{DryRun: true}, Step{Name: "phase", Phase: p})
	if err != nil {
		w.t.Fatal(err)
	}
	return changes
}

// errKilled is what a run ends with that killAfter ended.
var errKilled = errors.New("killed")

// killAfter runs the steps but is killed after n changes, and says whether it was.
func (w *world) killAfter(n int, steps ...Step) (killed bool) {
	w.t.Helper()
	ctx, kill := context.WithCancelCause(w.t.Context())
	defer kill(nil)
	var counted []Step
	for _, s := range steps {
		counted = append(counted, Step{s.Name, s.Desc, PlanFunc(func(ctx context.Context) ([]Change, error) {
			changes, err := s.Plan(ctx)
			for i, c := range changes {
				changes[i].Apply = func(ctx context.Context) error {
					if n == 0 {
						kill(errKilled)
						return errKilled
					}
					n--
					return c.Apply(ctx)
				}
			}
			return changes, err
		})})
	}
	_, err := runSteps(ctx, Runner{}, counted...)
	if err != nil && !errors.Is(err, errKilled) {
		w.t.Fatal(err)
	}
	return err != nil
}

// wantError checks that err says text and carries a hint that says advice.
func wantError(t *testing.T, err error, text, advice string) {
	t.Helper()
	var h interface{ Hint() string }
	switch {
	case err == nil:
		t.Fatalf("no error, want %q", text)
	case !strings.Contains(err.Error(), text):
		t.Errorf("error %q does not say %q", err, text)
	case advice != "" && !errors.As(err, &h):
		t.Errorf("error %q has no hint", err)
	case advice != "" && !strings.Contains(h.Hint(), advice):
		t.Errorf("hint %q does not say %q", h.Hint(), advice)
	}
}

// mask replaces what differs from run to run.
func (w *world) mask(text string) string {
	text = strings.ReplaceAll(text, filepath.Dir(w.dirs.Kubernetes), "")
	return strings.ReplaceAll(text, localURL(w.cfg), "https://NODE")
}
