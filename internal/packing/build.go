package packing

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// Image is one program in a container image as ko would lay it out.
type Image struct {
	Ref     string // with a tag
	Program string // the last element of its import path
	File    string // the program
}

// Build compiles the programs of a manifest for Linux on this machine's architecture into a folder.
func Build(ctx context.Context, root, folder string, manifest []byte, repository, version string) ([]Image, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	programs := Programs(manifest)
	args := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", folder + string(filepath.Separator)}
	cmd := exec.CommandContext(ctx, "go", append(args, programs...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the steps: %w\n%s", err, out)
	}
	var images []Image
	for _, p := range programs {
		name := path.Base(p)
		images = append(images, Image{
			Ref: repository + "/" + name + ":" + version, Program: name, File: filepath.Join(folder, name),
		})
	}
	return images, nil
}
