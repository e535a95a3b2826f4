package packing

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Platforms are those that tkn-canary is released for.
var Platforms = []string{"darwin/amd64", "darwin/arm64", "linux/amd64", "linux/arm64", "windows/amd64"}

// Checksums is the file with the digests of archives, as sha256sum reads it.
const Checksums = "SHA256SUMS"

// Archives builds tkn-canary for platforms, and writes an archive of each into a folder, with their digests. Equal
// sources give equal bytes.
func Archives(ctx context.Context, root, folder, version string, platforms []string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var sums strings.Builder
	for _, p := range platforms {
		system, processor, ok := strings.Cut(p, "/")
		if !ok {
			return fmt.Errorf("packing tkn-canary: platform %q, want one such as linux/amd64", p)
		}
		packed, err := packProgram(ctx, root, system, processor)
		if err != nil {
			return fmt.Errorf("packing tkn-canary for %s: %w", p, err)
		}
		name := fmt.Sprintf("tkn-canary_%s_%s_%s.tar.gz", version, system, processor)
		if err := os.WriteFile(filepath.Join(folder, name), packed, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(packed), name)
	}
	return os.WriteFile(filepath.Join(folder, Checksums), []byte(sums.String()), 0o644)
}

// packProgram is the archive of tkn-canary for one platform.
func packProgram(ctx context.Context, root, system, processor string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "serin-pack-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	name := "tkn-canary"
	if system == "windows" {
		name += ".exe"
	}
	if err := Compile(ctx, root, filepath.Join(dir, name), system, processor); err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	files := tar.NewWriter(zip)
	for _, f := range []struct {
		from, to string
		mode     int64
	}{{filepath.Join(dir, name), name, 0o755}, {filepath.Join(root, "LICENSE"), "LICENSE", 0o644}} {
		text, err := os.ReadFile(f.from)
		if err == nil {
			err = write(files, f.to, text, f.mode)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := files.Close(); err != nil {
		return nil, err
	}
	err = zip.Close()
	return packed.Bytes(), err
}

// Compile builds tkn-canary for a platform as it is released.
func Compile(ctx context.Context, root, file, system, processor string) error {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "./cmd/tkn-canary")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+processor)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building tkn-canary: %w\n%s", err, out)
	}
	return nil
}
