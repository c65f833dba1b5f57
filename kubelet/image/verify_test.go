package image_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/credential"
	"boot.internal/kubelet/image"
)

// keys are what pods show registries, by the UID of the pod.
type keys map[types.UID][]credential.Credential

func (k keys) of(_ context.Context, p *v1.Pod, image string) ([]credential.Credential, []string) {
	if image != "docker.io/library/a" {
		return nil, []string{"wrong image " + image}
	}
	return k[p.UID], nil
}

func secret(name, password string) credential.Credential {
	return credential.Credential{
		Login: credential.Login{Username: "u", Password: password},
		From:  credential.Origin{Kind: credential.Secret, UID: "uid-" + name, Namespace: "ns", Name: name},
	}
}

// as asks for image a:1 on behalf of a pod.
func (b *bench) as(uid types.UID, policy v1.PullPolicy) error {
	_, err := b.puller.Ensure(b.Context(), &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid}}, &v1.Container{Image: "a:1", ImagePullPolicy: policy})
	return err
}

func TestCredentialsInTurn(t *testing.T) {
	all := keys{"p": {secret("one", "wrong"), secret("two", "right")}}
	run(t, func(o *image.Options) { o.Credentials = all.of }, func(b *bench) {
		b.fake.Fail("PullImage", 1, errors.New("denied"))
		if err := b.as("p", ""); err != nil {
			t.Errorf("the second would have done: %v", err)
		}
		if n := b.fake.Count("PullImage"); n != 2 {
			t.Errorf("%d pulls", n)
		}
	})
}

// What one pod is refused, another may get: each waits for itself.
func TestBackOffOfEachPod(t *testing.T) {
	run(t, nil, func(b *bench) {
		b.fake.Fail("PullImage", 1, errors.New("denied"))
		expect(t, b.as("one", ""), "ErrImagePull", time.Second)
		expect(t, b.as("one", ""), "ImagePullBackOff", 10*time.Second)
		if err := b.as("two", ""); err != nil {
			t.Error(err)
		}
	})
}

func TestMissingSecret(t *testing.T) {
	missing := func(context.Context, *v1.Pod, string) ([]credential.Credential, []string) {
		return nil, []string{"one", "two"}
	}
	run(t, func(o *image.Options) { o.Credentials = missing }, func(b *bench) {
		b.fake.Fail("PullImage", 1, errors.New("denied"))
		expect(t, b.as("p", ""), "ErrImagePull", time.Second)
		want := "Warning FailedToRetrieveImagePullSecret: " +
			"Unable to retrieve some image pull secrets (one, two); attempting to pull the image may not succeed."
		if got := b.told(); !strings.HasSuffix(got, want) {
			t.Errorf("events\n%s\nwant at last\n%s", got, want)
		}
		time.Sleep(10 * time.Second)
		if err := b.as("p", ""); err != nil {
			t.Errorf("without them it goes on: %v", err)
		}
		if got := b.told(); strings.Contains(got, "Warning") {
			t.Errorf("events\n%s", got)
		}
	})
}

func TestReasonsOfRuntimes(t *testing.T) {
	for said, want := range map[string]struct{ reason, message string }{
		"RegistryUnavailable: 503":       {"RegistryUnavailable", "image pull failed for a:1 because the registry is unavailable: 503"},
		"SignatureValidationFailed: no":  {"SignatureValidationFailed", "image pull failed for a:1 because the signature validation failed: no"},
		"manifest unknown: manifest gon": {"ErrImagePull", "manifest unknown: manifest gon"},
	} {
		run(t, nil, func(b *bench) {
			b.fake.Fail("PullImage", 1, errors.New(said))
			err := b.as("p", "")
			expect(t, err, want.reason, time.Second)
			if err.Error() != want.message {
				t.Errorf("message %q, want %q", err, want.message)
			}
		})
	}
}

func TestRate(t *testing.T) {
	run(t, func(o *image.Options) { o.QPS, o.Burst = 1, 2 }, func(b *bench) {
		began := time.Now()
		for _, name := range []string{"a:1", "b:1", "c:1", "d:1"} {
			if _, err := b.ensure(b.Context(), name, ""); err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(began).Round(time.Second); d != 2*time.Second {
			t.Errorf("took %s", d)
		}
	})
}

// An image that came by the secret of one pod is not there for another that
// could not have pulled it (KEP-2535).
func TestWhoMayUse(t *testing.T) {
	for _, c := range []struct {
		name    string
		policy  kubeletv1beta1.ImagePullCredentialsVerificationPolicy
		allowed []string
		first   []credential.Credential // of the pod that pulls
		second  []credential.Credential // of the pod that finds it there
		pulls   int                     // by the second
	}{
		{"no secret", kubeletv1beta1.NeverVerifyPreloadedImages, nil, []credential.Credential{secret("one", "x")}, nil, 1},
		{"another secret", kubeletv1beta1.NeverVerifyPreloadedImages, nil, []credential.Credential{secret("one", "x")}, []credential.Credential{secret("two", "y")}, 1},
		{"the same secret", kubeletv1beta1.NeverVerifyPreloadedImages, nil, []credential.Credential{secret("one", "x")}, []credential.Credential{secret("one", "x")}, 0},
		{"the same in another secret", kubeletv1beta1.NeverVerifyPreloadedImages, nil, []credential.Credential{secret("one", "x")}, []credential.Credential{secret("two", "x")}, 0},
		{"the secret has changed", kubeletv1beta1.NeverVerifyPreloadedImages, nil, []credential.Credential{secret("one", "x")}, []credential.Credential{secret("one", "y")}, 0},
		{"it needs none", kubeletv1beta1.AlwaysVerify, nil, nil, nil, 0},
		{"the node's own", kubeletv1beta1.AlwaysVerify, nil, []credential.Credential{{From: credential.Origin{Kind: credential.Node}}}, nil, 0},
		{"nobody cares", kubeletv1beta1.NeverVerify, nil, []credential.Credential{secret("one", "x")}, nil, 0},
		{"on the list", kubeletv1beta1.NeverVerifyAllowlistedImages, []string{"b", "a"}, []credential.Credential{secret("one", "x")}, nil, 0},
		{"not on the list", kubeletv1beta1.NeverVerifyAllowlistedImages, []string{"reg.test/*"}, []credential.Credential{secret("one", "x")}, nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			run(t, func(o *image.Options) {
				o.RecordsDir, o.Credentials = dir, keys{"first": c.first, "second": c.second}.of
				o.Verify = image.Verification{Policy: c.policy, Allowed: c.allowed}
			}, func(b *bench) {
				if err := b.as("first", ""); err != nil {
					t.Fatal(err)
				}
				b.puller = image.New(b.o) // records outlive the loop
				before := b.fake.Count("PullImage")
				if err := b.as("second", ""); err != nil {
					t.Fatal(err)
				}
				if n := b.fake.Count("PullImage") - before; n != c.pulls {
					t.Errorf("%d pulls, want %d", n, c.pulls)
				}
				if again := b.fake.Count("PullImage"); b.as("second", "") != nil || b.fake.Count("PullImage") != again {
					t.Error("who could pull it once may use it")
				}
			})
		})
	}
}

func TestNeverTellsNothing(t *testing.T) {
	dir := t.TempDir()
	run(t, func(o *image.Options) {
		o.RecordsDir, o.Credentials = dir, keys{"first": {secret("one", "x")}}.of
		o.Verify.Policy = kubeletv1beta1.NeverVerifyPreloadedImages
	}, func(b *bench) {
		if err := b.as("first", ""); err != nil {
			t.Fatal(err)
		}
		expect(t, b.as("second", v1.PullNever), "ErrImageNeverPull", 0)
	})
}

// An image that nobody pulled came with the node: it is for all, unless the
// policy is stricter.
func TestPreloaded(t *testing.T) {
	for policy, pulls := range map[kubeletv1beta1.ImagePullCredentialsVerificationPolicy]int{
		kubeletv1beta1.NeverVerifyPreloadedImages: 0, kubeletv1beta1.AlwaysVerify: 1,
	} {
		dir := t.TempDir()
		run(t, func(o *image.Options) { o.RecordsDir, o.Verify.Policy = dir, policy }, func(b *bench) {
			b.fake.SetImages("a:1")
			if err := b.as("p", ""); err != nil {
				t.Error(err)
			}
			if n := b.fake.Count("PullImage"); n != pulls {
				t.Errorf("%s: %d pulls, want %d", policy, n, pulls)
			}
		})
	}
}

// A pull that was under way when the loop died counts as one.
func TestDiedWhilePulling(t *testing.T) {
	dir := t.TempDir()
	run(t, func(o *image.Options) { o.RecordsDir, o.Verify.Policy = dir, kubeletv1beta1.NeverVerifyPreloadedImages }, func(b *bench) {
		b.fake.Delay("PullImage", 1, time.Hour)
		go func() { _ = b.as("p", "") }()
		synctest.Wait()
		left := read(t, filepath.Join(dir, "pulling"))
		b.fake.SetImages("a:1")
		b.puller = image.New(b.o)
		if err := b.as("q", ""); err != nil {
			t.Error(err)
		}
		if n := b.fake.Count("PullImage"); n != 2 {
			t.Errorf("%d pulls: q was never asked for credentials", n)
		}
		if !strings.Contains(left, `"image":"a:1"`) || !strings.Contains(left, `"kind":"ImagePullIntent"`) {
			t.Errorf("intent %s", left)
		}
		if got := read(t, filepath.Join(dir, "pulled")); !strings.Contains(got, `"credentialMapping":{"a":{"nodePodsAccessible":true}}`) {
			t.Errorf("record %s", got)
		}
		if got := read(t, filepath.Join(dir, "pulling")); got != "" {
			t.Errorf("intent %s", got)
		}
		time.Sleep(time.Hour)
	})
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	run(t, func(o *image.Options) { o.RecordsDir = dir }, func(b *bench) {
		if err := b.as("p", ""); err != nil {
			t.Fatal(err)
		}
		got, err := b.ensure(b.Context(), "a:1", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			ids    []string
			listed time.Time
			stays  bool
		}{
			{[]string{got.Id}, time.Now().Add(time.Hour), true},
			{nil, time.Now().Add(-time.Hour), true}, // it may be newer than the list
			{nil, time.Now().Add(time.Hour), false},
		} {
			if err := b.puller.Prune(c.ids, c.listed); err != nil {
				t.Error(err)
			}
			if stays := read(t, filepath.Join(dir, "pulled")) != ""; stays != c.stays {
				t.Errorf("%v: stays %v", c.ids, stays)
			}
		}
	})
}

// read returns what all files of a directory hold.
func read(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
	}
	return all.String()
}
