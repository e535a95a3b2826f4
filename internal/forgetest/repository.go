package forgetest

import (
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"code.gitea.io/sdk/gitea"
)

// Repository is one of the forge, of a user of its own.
type Repository struct {
	*Forge
	Owner, Name string
	Client      *gitea.Client // of its owner
	Token       string        // of its owner

	t *testing.T
}

// number tells users apart.
var number atomic.Int32

// New makes a user with a repository that holds files, on branch main.
func New(t *testing.T, files map[string]string) *Repository {
	t.Helper()
	f := Get(t)
	r := &Repository{Forge: f, Owner: fmt.Sprintf("team-%d", number.Add(1)), Name: "production", t: t}
	_, err := f.run(t.Context(), "admin", "user", "create", "--username", r.Owner, "--password", "only-for-tests",
		"--email", r.Owner+"@example.com", "--must-change-password=false")
	r.must(err)
	r.Token, err = f.run(t.Context(), "admin", "user", "generate-access-token", "--username", r.Owner, "--token-name",
		"all", "--scopes", "all", "--raw")
	r.must(err)
	r.Client, err = gitea.NewClient(f.URL, gitea.SetToken(r.Token))
	r.must(err)
	_, _, err = r.Client.CreateRepo(gitea.CreateRepoOption{Name: r.Name, DefaultBranch: "main", AutoInit: true})
	r.must(err)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		r.Write(path, files[path])
	}
	return r
}

// Scoped makes a token of the owner's with fewer rights, such as read:repository.
func (r *Repository) Scoped(scopes string) string {
	r.t.Helper()
	token, err := r.run(r.t.Context(), "admin", "user", "generate-access-token", "--username", r.Owner, "--token-name",
		scopes, "--scopes", scopes, "--raw")
	r.must(err)
	return token
}

// Address is what git clones.
func (r *Repository) Address() string { return fmt.Sprintf("%s/%s/%s.git", r.URL, r.Owner, r.Name) }

// TokenFile is a file with a token.
func (r *Repository) TokenFile(token string) string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "token")
	r.must(os.WriteFile(path, []byte(token+"\n"), 0o600))
	return path
}

// Write commits a file to main.
func (r *Repository) Write(path, content string) {
	r.t.Helper()
	text := base64.StdEncoding.EncodeToString([]byte(content))
	now, _, err := r.Client.GetContents(r.Owner, r.Name, "main", path)
	if err == nil && now != nil {
		_, _, err = r.Client.UpdateFile(r.Owner, r.Name, path, gitea.UpdateFileOptions{
			FileOptions: gitea.FileOptions{BranchName: "main"}, SHA: now.SHA, Content: text})
	} else {
		_, _, err = r.Client.CreateFile(r.Owner, r.Name, path, gitea.CreateFileOptions{
			FileOptions: gitea.FileOptions{BranchName: "main"}, Content: text})
	}
	r.must(err)
}

// Read is a file of a branch.
func (r *Repository) Read(branch, path string) string {
	r.t.Helper()
	text, _, err := r.Client.GetFile(r.Owner, r.Name, branch, path)
	r.must(err)
	return string(text)
}

func (r *Repository) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}
