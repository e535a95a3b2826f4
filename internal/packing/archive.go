package packing

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"time"
)

// certificates is where Debian keeps the roots of trust; an image goes without where there are none.
const certificates = "/etc/ssl/certs/ca-certificates.crt"

const users = "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"

// Archive writes the images as a docker archive, which `ctr images import` and `docker load` read. It is
// for machines without a registry; equal programs give equal bytes.
func Archive(w io.Writer, images []Image) error {
	base, err := layer(map[string]content{"etc/passwd": text(users), "etc/ssl/certs/ca-certificates.crt": roots()})
	if err != nil {
		return err
	}
	out := &archive{tar: tar.NewWriter(w), seen: map[string]bool{}}
	out.blob(base)
	for _, i := range images {
		program, err := os.ReadFile(i.File)
		if err != nil {
			return fmt.Errorf("packing %s: %w", i.Ref, err)
		}
		own, err := layer(map[string]content{"ko-app/" + i.Program: {program, 0o755}})
		if err != nil {
			return fmt.Errorf("packing %s: %w", i.Ref, err)
		}
		out.blob(own)
		out.image(i, base, own)
	}
	return out.close()
}

type content struct {
	bytes []byte
	mode  int64
}

func text(s string) content { return content{[]byte(s), 0o644} }

func roots() content {
	all, err := os.ReadFile(certificates)
	if err != nil {
		return text("")
	}
	return content{all, 0o644}
}

// layer is an uncompressed layer with files of root's.
func layer(files map[string]content) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		if err := write(w, name, f.bytes, f.mode); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

func write(w *tar.Writer, name string, text []byte, mode int64) error {
	header := &tar.Header{Name: name, Mode: mode, Size: int64(len(text)), ModTime: time.Unix(0, 0)}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(text)
	return err
}

// archive keeps its first error for the end.
type archive struct {
	tar     *tar.Writer
	seen    map[string]bool
	entries []entry
	err     error
}

// entry is an image in manifest.json.
type entry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (a *archive) blob(text []byte) string {
	name := fmt.Sprintf("%x", sha256.Sum256(text))
	if a.err == nil && !a.seen[name] {
		a.seen[name] = true
		a.err = write(a.tar, name, text, 0o644)
	}
	return name
}

func (a *archive) image(i Image, layers ...[]byte) {
	var ids, names []string
	for _, l := range layers {
		name := a.blob(l)
		names = append(names, name)
		ids = append(ids, "sha256:"+name)
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "created": "1970-01-01T00:00:00Z",
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
		"config": map[string]any{
			"User": "65532:65532", "WorkingDir": "/", "Entrypoint": []string{"/ko-app/" + i.Program},
			"Env": []string{"PATH=/usr/local/bin:/usr/bin:/bin:/ko-app", "SSL_CERT_FILE=" + certificates},
		},
	})
	if err != nil && a.err == nil {
		a.err = err
	}
	a.entries = append(a.entries, entry{Config: a.blob(config), RepoTags: []string{i.Ref}, Layers: names})
}

func (a *archive) close() error {
	manifest, err := json.Marshal(a.entries)
	if a.err == nil {
		a.err = err
	}
	if a.err == nil {
		a.err = write(a.tar, "manifest.json", manifest, 0o644)
	}
	if a.err != nil {
		return a.err
	}
	return a.tar.Close()
}
