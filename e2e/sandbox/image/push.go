package image

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Push gives the images of a docker archive to the registries that their names begin with, as the user that docker's
// configuration has for each, and returns for each name the one with its digest. A node that has pulled a tag once does
// not ask for it again; what it runs is told by the digest.
func Push(ctx context.Context, archive string) (map[string]string, error) {
	open := func() (io.ReadCloser, error) { return os.Open(archive) }
	manifest, err := tarball.LoadManifest(open)
	if err != nil {
		return nil, fmt.Errorf("reading the images in %s: %w", archive, err)
	}
	pushed := map[string]string{}
	for _, entry := range manifest {
		for _, ref := range entry.RepoTags {
			tag, err := name.NewTag(ref)
			if err != nil {
				return nil, fmt.Errorf("pushing %s: %w", ref, err)
			}
			img, err := tarball.Image(open, &tag)
			if err != nil {
				return nil, fmt.Errorf("pushing %s: %w", ref, err)
			}
			if err := remote.Write(tag, img, remote.WithContext(ctx),
				remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
				return nil, fmt.Errorf("pushing %s: %w", ref, err)
			}
			digest, err := img.Digest()
			if err != nil {
				return nil, fmt.Errorf("pushing %s: %w", ref, err)
			}
			pushed[ref] = ref + "@" + digest.String()
		}
	}
	return pushed, nil
}

// Pushable returns why this machine may not push to a repository, if so. It begins an upload there and ends it.
func Pushable(repository string) error {
	repo, err := name.NewRepository(repository)
	if err != nil {
		return err
	}
	return remote.CheckPushPermission(repo.Tag("demo"), authn.DefaultKeychain, remote.DefaultTransport)
}
