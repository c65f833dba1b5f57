package checkpoint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Written by another kubelet.
const others = `{"Data":"{\"kind\":\"DRACheckpoint\",\"apiVersion\":\"checkpoint.dra.kubelet.k8s.io/v1\",\"ClaimInfoStateList\":[{\"ClaimUID\":\"067798be-454e-4be4-9047-1aa06aea63f7\",\"ClaimName\":\"example\",\"Namespace\":\"default\",\"PodUIDs\":{\"139cdb46-f989-4f17-9561-ca10cfb509a6\":{}},\"DriverState\":{\"test-driver.cdi.k8s.io\":{\"Devices\":[{\"PoolName\":\"worker-1\",\"DeviceName\":\"dev-1\",\"ShareID\":\"aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa\",\"RequestNames\":[\"test request\"],\"CDIDeviceIDs\":[\"example.com/example=cdi-example\"]}]}}}]}","Checksum":736302156}`

func example() []Claim {
	return []Claim{{
		ClaimUID: "067798be-454e-4be4-9047-1aa06aea63f7", ClaimName: "example", Namespace: "default",
		PodUIDs: sets.New("139cdb46-f989-4f17-9561-ca10cfb509a6"),
		DriverState: map[string]Driver{"test-driver.cdi.k8s.io": {Devices: []Device{{
			PoolName: "worker-1", DeviceName: "dev-1", ShareID: new(types.UID("aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa")),
			RequestNames: []string{"test request"}, CDIDeviceIDs: []string{"example.com/example=cdi-example"},
		}}}},
	}}
}

// Either kubelet goes on from the file of the other.
func TestClaims(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dra_manager_state")
	if all, err := Load(path); err != nil || all != nil {
		t.Errorf("no file holds %v, %v", all, err)
	}
	if err := os.WriteFile(path, []byte(others), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example(), all); diff != "" {
		t.Error(diff)
	}
	if err := Store(path, all); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != others {
		t.Errorf("ours is\n%s", text)
	}
}

func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dra_manager_state")
	for text, want := range map[string]string{
		"{": "unexpected end of JSON input",
		strings.Replace(others, "example", "sample", 1): "its checksum is wrong",
		`{"Data":"","Checksum":0}`:                      "unexpected end of JSON input",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestHealth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dra_health_state")
	if h, err := LoadHealth(path); err != nil || h == nil {
		t.Errorf("no file holds %v, %v", h, err)
	}
	want := Health{"driver": {Devices: map[string]DeviceHealth{"pool/dev": {
		PoolName: "pool", DeviceName: "dev", Health: "Unhealthy", LastUpdated: time.Unix(1000, 0).UTC(), HealthCheckTimeout: time.Minute, Message: "too hot",
	}}}}
	if err := StoreHealth(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := LoadHealth(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := os.WriteFile(path, []byte("["), 0o600); err != nil {
		t.Fatal(err)
	}
	if h, err := LoadHealth(path); err == nil || h == nil {
		t.Errorf("a damaged file holds %v, %v", h, err)
	}
}
