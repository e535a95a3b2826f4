package sandbox

import "testing"

func TestTektonImageRef(t *testing.T) {
	cases := map[string]string{
		`image: ko://github.com/tektoncd/pipeline/cmd/webhook`:       `image: serin.test/tekton-webhook:v1.15.0`,
		`"-nop-image", "ko://github.com/tektoncd/pipeline/cmd/nop",`: `"-nop-image", "serin.test/tekton-nop:v1.15.0",`,
		`"-shell-image", "example.com/busybox@sha256:19f0", # x`:     `"-shell-image", "serin.test/none:1", # x`,
		`name: tekton`: `name: tekton`,
	}
	for line, want := range cases {
		if got := tektonImageRef(line); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestTriggersManifest(t *testing.T) {
	const text = `image: "ko://github.com/tektoncd/triggers/cmd/webhook"
"-el-image", "ko://github.com/tektoncd/triggers/cmd/eventlistenersink",`
	const want = `image: "serin.test/triggers-webhook:v0.36.0"
"-el-image", "serin.test/triggers-eventlistenersink:v0.36.0",`
	if got := triggersManifest(text); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMajorVersion(t *testing.T) {
	cases := map[string]string{
		"containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+b1": "1",
		"containerd github.com/containerd/containerd v1.7.28 abc":                "1",
		"containerd github.com/containerd/containerd/v2 2.1.4~ds1 x":             "2",
	}
	for version, want := range cases {
		if got := majorVersion(version); got != want {
			t.Errorf("%s: got %s, want %s", version, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{"default": true, "a-1": true, "": false, "A": false, "../x": false,
		"-a": false, "a-name-that-is-too-long-for-it": false} {
		if _, err := dirOf(name); (err == nil) != want {
			t.Errorf("%q: got %v, want accepted: %v", name, err, want)
		}
	}
}
