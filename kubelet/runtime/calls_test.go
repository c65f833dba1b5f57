package runtime

import "testing"

func TestOperationOf(t *testing.T) {
	for method, want := range map[string]string{
		"/runtime.v1.RuntimeService/ListPodSandbox":     "list_podsandbox",
		"/runtime.v1.RuntimeService/PodSandboxStatus":   "podsandbox_status",
		"/runtime.v1.RuntimeService/StartContainer":     "start_container",
		"/runtime.v1.ImageService/ImageFsInfo":          "image_fs_info",
		"/runtime.v1.RuntimeService/Version":            "version",
		"/runtime.v1.RuntimeService/ExecSync":           "exec_sync",
		"/runtime.v1.RuntimeService/ListContainerStats": "list_container_stats",
	} {
		if got := operationOf(method); got != want {
			t.Errorf("%s is %s, want %s", method, got, want)
		}
	}
}
