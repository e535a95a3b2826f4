// Command pack writes the step images as an archive and a manifest that names them, for a cluster without a registry,
// or the archives of tkn-canary.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/serin-cd/serin/internal/packing"
)

type options struct {
	root, out, repository, version string
	manifest                       bool
	programs                       string
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "the folder of the module")
	flag.StringVar(&o.out, "out", "dist", "the folder for images.tar and release.yaml")
	flag.StringVar(&o.repository, "repository", "serin.test/serin", "what the images' names begin with")
	flag.StringVar(&o.version, "version", "devel", "the images' tag; latest would be pulled from a registry")
	flag.BoolVar(&o.manifest, "manifest", false, "print the manifest as ko reads it, and build nothing")
	flag.StringVar(&o.programs, "programs", "",
		"write archives of tkn-canary for these platforms, separated by commas, or for all that it is released for")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	switch o.programs {
	case "":
	case "all":
		return packing.Archives(ctx, o.root, o.out, o.version, packing.Platforms)
	default:
		return packing.Archives(ctx, o.root, o.out, o.version, strings.Split(o.programs, ","))
	}
	manifest, err := packing.Manifest(o.root)
	if err != nil {
		return err
	}
	if o.manifest {
		_, err := os.Stdout.Write(manifest)
		return err
	}
	images, err := packing.Build(ctx, o.root, filepath.Join(o.out, "bin"), manifest, o.repository, o.version)
	if err != nil {
		return err
	}
	archive, err := os.Create(filepath.Join(o.out, "images.tar"))
	if err != nil {
		return err
	}
	defer archive.Close()
	if err := packing.Archive(archive, images); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.out, "release.yaml"), packing.Resolve(manifest, o.repository, o.version), 0o644)
}
