package packing_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"github.com/serin-cd/serin/internal/packing"
)

const (
	path    = "github.com/serin-cd/serin"
	release = "v0.0.1"
)

// slow skips a test that builds programs if there is little time.
func slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds programs, which -short leaves out")
	}
}

// run runs a program on a machine that has nothing but a PATH and a HOME.
func run(t *testing.T, env []string, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// unpacked is a folder with what the archive of this machine's platform has, after its digest was checked.
func unpacked(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if err := packing.Archives(t.Context(), root, dir, release, []string{platform}); err != nil {
		t.Fatal(err)
	}
	check := exec.CommandContext(t.Context(), "sha256sum", "-c", packing.Checksums)
	check.Dir = dir
	if out, err := check.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	archive := filepath.Join(dir, "tkn-canary_"+release+"_"+strings.ReplaceAll(platform, "/", "_")+".tar.gz")
	run(t, os.Environ(), "tar", "-xzf", archive, "-C", dir)
	return dir
}

// TestArchive unpacks it in a folder that is then the whole file system, and starts what is in it. It is made twice.
func TestArchive(t *testing.T) {
	slow(t)
	dir, again := unpacked(t), unpacked(t)
	sums, err := os.ReadFile(filepath.Join(dir, packing.Checksums))
	if err != nil {
		t.Fatal(err)
	}
	same, err := os.ReadFile(filepath.Join(again, packing.Checksums))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sums, same) {
		t.Errorf("made twice, the archives differ:\n%s%s", sums, same)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "tkn-canary"), "version")
	if os.Getuid() == 0 {
		cmd = exec.CommandContext(t.Context(), "/tkn-canary", "version")
		cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: dir}
	}
	cmd.Env = []string{}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "0.1.0 ") {
		t.Errorf("tkn-canary version: %q (%v), want 0.1.0", out, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "LICENSE")); err != nil {
		t.Error(err)
	}
}

// TestArchiveOfNothing names what is wrong.
func TestArchiveOfNothing(t *testing.T) {
	err := packing.Archives(t.Context(), root, t.TempDir(), release, []string{"linux"})
	if want := `packing tkn-canary: platform "linux", want one such as linux/amd64`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestPlugin puts the program where tkn looks for plugins, and has tkn's own code find it.
func TestPlugin(t *testing.T) {
	slow(t)
	program := filepath.Join(unpacked(t), "tkn-canary")
	tkn := filepath.Join(t.TempDir(), "tkn")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", tkn, ".")
	build.Dir = filepath.Join("testdata", "tkn")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building tkn's search for plugins: %v\n%s", err, out)
	}
	cases := map[string]struct {
		folder string // beneath HOME
		env    func(home string) string
	}{
		"plugin folder":   {".config/tkn/plugins", func(string) string { return "PATH=/nowhere" }},
		"PATH":            {"bin", func(home string) string { return "PATH=" + filepath.Join(home, "bin") }},
		"XDG_CONFIG_HOME": {"x/tkn/plugins", func(home string) string { return "XDG_CONFIG_HOME=" + home + "/x" }},
		"TKN_PLUGINS_DIR": {"p", func(home string) string { return "TKN_PLUGINS_DIR=" + home + "/p" }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			folder := filepath.Join(home, c.folder)
			if err := os.MkdirAll(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Link(program, filepath.Join(folder, "tkn-canary")); err != nil {
				t.Fatal(err)
			}
			out := run(t, []string{c.env(home), "HOME=" + home}, tkn, "canary", "version")
			if !strings.HasPrefix(out, "0.1.0 ") {
				t.Errorf("tkn canary version: %q, want 0.1.0", out)
			}
		})
	}
}

// TestGoInstall installs the program by its module path from a proxy that has this checkout as a version, with nothing
// of this machine but the modules and the build cache.
func TestGoInstall(t *testing.T) {
	slow(t)
	proxy, home := t.TempDir(), t.TempDir()
	publish(t, proxy)
	cache := strings.TrimSpace(run(t, os.Environ(), "go", "env", "GOMODCACHE"))
	built := strings.TrimSpace(run(t, os.Environ(), "go", "env", "GOCACHE"))
	env := []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "GOCACHE=" + built, "CGO_ENABLED=0", "GONOSUMDB=*",
		"GOFLAGS=-trimpath -modcacherw", "GOTOOLCHAIN=local",
		"GOPROXY=file://" + proxy + ",file://" + filepath.Join(cache, "cache", "download")}
	run(t, env, "go", "install", path+"/cmd/tkn-canary@"+release)
	out := run(t, []string{"HOME=" + home}, filepath.Join(home, "go", "bin", "tkn-canary"), "version")
	if !strings.Contains(out, " ("+release+", go") {
		t.Errorf("tkn-canary version: %q, want %s", out, release)
	}
}

// publish makes a version of this checkout in the folder of a Go proxy.
func publish(t *testing.T, proxy string) {
	t.Helper()
	versions := filepath.Join(proxy, filepath.FromSlash(path), "@v")
	if err := os.MkdirAll(versions, 0o755); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	info := fmt.Sprintf(`{"Version":%q,"Time":"2026-01-01T00:00:00Z"}`, release)
	for name, text := range map[string]string{release + ".info": info, release + ".mod": string(mod), "list": release} {
		if err := os.WriteFile(filepath.Join(versions, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	made, err := os.Create(filepath.Join(versions, release+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	if err := zip.CreateFromDir(made, module.Version{Path: path, Version: release}, root); err != nil {
		t.Fatal(err)
	}
}
