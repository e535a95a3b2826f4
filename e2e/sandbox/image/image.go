// Package image packs programs as container images for a node that has no registry.
package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// certificates is where Debian's ca-certificates keeps the roots; an image goes without where there are none.
const certificates = "/etc/ssl/certs/ca-certificates.crt"

// Image is one program on an otherwise empty file system.
type Image struct {
	Ref        string            // with a tag other than latest, which would be pulled from a registry
	Files      map[string]string // path in the image to path here
	Entrypoint []string
	Env        []string // NAME=value
	User       string   // default 65532
}

// WriteArchive writes a docker archive of the images to file, for Sandbox.LoadImages; equal inputs give equal bytes.
// Images that share a file share its layer.
func WriteArchive(file string, images ...Image) error {
	base, err := baseLayer()
	if err != nil {
		return err
	}
	refs := map[name.Reference]v1.Image{}
	layers := map[string]v1.Layer{} // by source and destination
	for _, i := range images {
		ref, err := name.NewTag(i.Ref, name.StrictValidation)
		if err != nil {
			return fmt.Errorf("packing image %s: %w", i.Ref, err)
		}
		if refs[ref], err = i.build(base, layers); err != nil {
			return fmt.Errorf("packing image %s: %w", i.Ref, err)
		}
	}
	partial, err := os.CreateTemp(filepath.Dir(file), ".partial-*.tar")
	if err != nil {
		return err
	}
	defer os.Remove(partial.Name())
	if err := tarball.MultiRefWrite(refs, partial); err != nil {
		partial.Close()
		return fmt.Errorf("writing %s: %w", file, err)
	}
	if err := partial.Close(); err != nil {
		return err
	}
	return os.Rename(partial.Name(), file)
}

func (i Image) build(base v1.Layer, layers map[string]v1.Layer) (v1.Image, error) {
	add := []v1.Layer{base}
	for _, to := range sortedKeys(i.Files) {
		from := i.Files[to]
		layer, ok := layers[from+":"+to]
		if !ok {
			var err error
			if layer, err = fileLayer(from, to); err != nil {
				return nil, err
			}
			layers[from+":"+to] = layer
		}
		add = append(add, layer)
	}
	img, err := mutate.AppendLayers(empty.Image, add...)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Architecture, config.OS = runtime.GOARCH, "linux"
	config.Config.Entrypoint = i.Entrypoint
	config.Config.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin:/ko-app"}, i.Env...)
	config.Config.WorkingDir = "/"
	config.Config.User = i.User
	if i.User == "" {
		config.Config.User = "65532:65532"
	}
	return mutate.ConfigFile(img, config)
}

// baseLayer is what programs expect of a file system: users, roots of trust and a folder for temporary files.
func baseLayer() (v1.Layer, error) {
	var buf bytes.Buffer
	w := newLayerWriter(&buf)
	w.dir("tmp", 0o1777)
	w.file("etc/passwd", []byte("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"),
		0o644)
	w.file("etc/group", []byte("root:x:0:\nnonroot:x:65532:\n"), 0o644)
	if roots, err := os.ReadFile(certificates); err == nil {
		w.file(certificates[1:], roots, 0o644)
	}
	return w.layer()
}

func fileLayer(from, to string) (v1.Layer, error) {
	content, err := os.ReadFile(from)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(from)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := newLayerWriter(&buf)
	w.file(to[1:], content, int64(info.Mode().Perm())|0o444)
	return w.layer()
}

// layerWriter writes a layer's tar; the first error is kept for the end.
type layerWriter struct {
	buf  *bytes.Buffer
	tw   *tar.Writer
	seen []string
	err  error
}

func newLayerWriter(buf *bytes.Buffer) *layerWriter {
	return &layerWriter{buf: buf, tw: tar.NewWriter(buf)}
}

func (w *layerWriter) header(h *tar.Header) {
	h.ModTime = time.Unix(0, 0)
	if w.err == nil {
		w.err = w.tw.WriteHeader(h)
	}
}

func (w *layerWriter) dir(name string, mode int64) {
	if name == "." || name == "/" || slices.Contains(w.seen, name) {
		return
	}
	w.dir(path.Dir(name), 0o755)
	w.seen = append(w.seen, name)
	w.header(&tar.Header{Name: name + "/", Mode: mode, Typeflag: tar.TypeDir})
}

func (w *layerWriter) file(name string, content []byte, mode int64) {
	w.dir(path.Dir(name), 0o755)
	w.header(&tar.Header{Name: name, Mode: mode, Size: int64(len(content)), Typeflag: tar.TypeReg})
	if w.err == nil {
		_, w.err = w.tw.Write(content)
	}
}

// layer is not compressed: the archive is read once, on the machine that wrote it.
func (w *layerWriter) layer() (v1.Layer, error) {
	if w.err == nil {
		w.err = w.tw.Close()
	}
	if w.err != nil {
		return nil, w.err
	}
	return static.NewLayer(w.buf.Bytes(), types.DockerUncompressedLayer), nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
