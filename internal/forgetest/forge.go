package forgetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// Directory is the environment variable that names the directory of the forge.
const Directory = "SERIN_FORGE"

// nobody is the user that Gitea runs as where the tests are root, whom it refuses.
const nobody = 65534

// Forge is a Gitea that runs.
type Forge struct {
	URL string // without a slash at its end

	home    string
	program string
	port    int
	serving *exec.Cmd
	log     *os.File
}

// used is the forge of a package's tests.
var used struct {
	sync.Once
	forge *Forge
	err   error
}

// Main runs the tests of a package, to be called by its TestMain, and ends their forge after them.
func Main(m *testing.M) {
	code := m.Run()
	if f := used.forge; f != nil {
		f.Stop()
		if code != 0 {
			text, _ := os.ReadFile(f.log.Name())
			fmt.Fprintf(os.Stderr, "--- %s\n%s", f.log.Name(), text)
		}
		_ = os.RemoveAll(f.home)
	}
	os.Exit(code)
}

// Get is the forge of the package's tests, which the first one starts.
func Get(t *testing.T) *Forge {
	t.Helper()
	at := os.Getenv(Directory)
	if at == "" {
		t.Skip(Directory + " names no directory with a forge")
	}
	used.Do(func() { used.forge, used.err = start(context.Background(), at) })
	if used.err != nil {
		t.Fatal(used.err)
	}
	return used.forge
}

var configuration = template.Must(template.New("app.ini").Parse(`APP_NAME = Forge
RUN_MODE = prod
RUN_USER = {{.User}}
WORK_PATH = {{.Home}}

[server]
STATIC_ROOT_PATH = {{.Home}}/source
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {{.Port}}
ROOT_URL = http://127.0.0.1:{{.Port}}/
DISABLE_SSH = true
OFFLINE_MODE = true

[database]
DB_TYPE = sqlite3
PATH = {{.Home}}/gitea.db

[security]
INSTALL_LOCK = true
SECRET_KEY = tests

[webhook]
ALLOWED_HOST_LIST = *

[service]
DISABLE_REGISTRATION = true

[log]
LEVEL = warn

[indexer]
ISSUE_INDEXER_TYPE = db
`))

func start(ctx context.Context, at string) (*Forge, error) {
	home, err := os.MkdirTemp("", "serin-forge-")
	if err != nil {
		return nil, err
	}
	f := &Forge{home: home, program: filepath.Join(home, "gitea")}
	if f.port, err = freePort(ctx); err != nil {
		return nil, err
	}
	f.URL = fmt.Sprintf("http://127.0.0.1:%d", f.port)
	if err := f.prepare(at); err != nil {
		return nil, fmt.Errorf("preparing a forge of %s: %w", at, err)
	}
	if _, err := f.run(ctx, "migrate"); err != nil {
		return nil, err
	}
	return f, f.Start()
}

// prepare writes the forge's home, as its user.
func (f *Forge) prepare(at string) error {
	if err := os.CopyFS(f.home, os.DirFS(at)); err != nil {
		return err
	}
	if err := os.Chmod(f.program, 0o755); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := configuration.Execute(&text, map[string]any{"Home": f.home, "Port": f.port, "User": userName()}); err != nil {
		return err
	}
	if err := os.WriteFile(f.config(), text.Bytes(), 0o600); err != nil {
		return err
	}
	var err error
	if f.log, err = os.Create(filepath.Join(f.home, "gitea.log")); err != nil || os.Getuid() != 0 {
		return err
	}
	return filepath.WalkDir(f.home, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	})
}

func (f *Forge) config() string { return filepath.Join(f.home, "app.ini") }

func userName() string {
	if os.Getuid() == 0 {
		return "nobody"
	}
	return os.Getenv("USER")
}

func (f *Forge) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, f.program, append(args, "--config", f.config())...)
	cmd.Dir = f.home
	cmd.Env = []string{"HOME=" + f.home, "USER=" + userName(), "GITEA_WORK_DIR=" + f.home, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

// run runs a command of Gitea's, and is what it prints.
func (f *Forge) run(ctx context.Context, args ...string) (string, error) {
	cmd := f.command(ctx, args...)
	out, err := cmd.Output()
	if exit := (&exec.ExitError{}); errors.As(err, &exit) {
		return "", fmt.Errorf("running gitea %s: %w: %s", strings.Join(args, " "), err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// Start serves, again after Stop, and waits until the forge answers.
func (f *Forge) Start() error {
	f.serving = f.command(context.Background(), "web")
	f.serving.Stdout, f.serving.Stderr = f.log, f.log
	if err := f.serving.Start(); err != nil {
		return fmt.Errorf("starting the forge: %w", err)
	}
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		response, err := http.Get(f.URL + "/api/healthz")
		if err != nil {
			continue
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return nil
		}
	}
	return errors.New("starting the forge: it does not answer within 2 minutes: its log is " + f.log.Name())
}

// Stop ends the forge; its repositories stay until the tests have ended.
func (f *Forge) Stop() {
	_ = f.serving.Process.Signal(syscall.SIGTERM)
	_ = f.serving.Wait()
}

func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	address, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("looking for a free port: got %T", l.Addr())
	}
	return address.Port, nil
}
