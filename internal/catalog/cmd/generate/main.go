// Command generate writes the files that follow from the configuration of the steps.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/serin-cd/serin/internal/catalog"
)

func main() {
	root := flag.String("root", ".", "the folder of the module")
	verify := flag.Bool("verify", false, "write nothing, and fail where a file is out of date")
	flag.Parse()
	if err := run(context.Background(), *root, *verify); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root string, verify bool) error {
	files, err := catalog.Files(ctx, root)
	if err != nil {
		return err
	}
	for _, f := range files {
		name := filepath.Join(root, filepath.FromSlash(f.Path))
		now, _ := os.ReadFile(name) // a file that is missing is out of date
		switch {
		case bytes.Equal(now, f.Text):
		case verify:
			return fmt.Errorf("%s is out of date: run `make generate`", f.Path)
		default:
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(name, f.Text, 0o644); err != nil {
				return err
			}
			fmt.Println("wrote", f.Path)
		}
	}
	return nil
}
