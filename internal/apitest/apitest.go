package apitest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Component is a part of the control plane that only some tests need.
type Component string

// Controllers rolls Deployments out, deletes what is in deleted namespaces and what has lost its owner.
const Controllers Component = "kube-controller-manager"

// Kubeconfig is the environment variable that names the kubeconfig of a server that packages share, with Controllers.
const Kubeconfig = "SERIN_APISERVER"

// used is the server that the tests of a package use. One of its own starts when the first test asks for it.
var used struct {
	sync.Once
	extra  []Component
	own    *Server
	config *rest.Config
	err    error
}

// Main runs the tests of a package, to be called by its TestMain. Where no server is shared
// they get one of their own, which stops after them.
func Main(m *testing.M, extra ...Component) {
	used.extra = extra
	code := m.Run()
	if used.own != nil {
		used.own.Stop(code != 0)
	}
	os.Exit(code)
}

// Own is Main for tests that must have a server to themselves, with these components and no others.
func Own(m *testing.M, extra ...Component) {
	if err := os.Unsetenv(Kubeconfig); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	Main(m, extra...)
}

// Config connects as an administrator. To act as an account of less rights, set Impersonate in it.
// With -short there is no server, and the test is skipped.
func Config(t testing.TB) *rest.Config {
	t.Helper()
	if testing.Short() {
		t.Skip("needs an API server, which -short leaves out")
	}
	used.Do(connect)
	if used.err != nil {
		t.Fatal(used.err)
	}
	return rest.CopyConfig(used.config)
}

// KubeconfigOf is a file by which programs connect as that administrator.
func KubeconfigOf(t testing.TB) string {
	t.Helper()
	Config(t)
	if used.own != nil {
		return used.own.Kubeconfig
	}
	return os.Getenv(Kubeconfig)
}

// connect finds the server that is shared, or starts one.
func connect() {
	if file := os.Getenv(Kubeconfig); file != "" {
		if used.config, used.err = clientcmd.BuildConfigFromFlags("", file); used.err == nil {
			used.config.QPS = -1
		}
		return
	}
	if used.own, used.err = Start(context.Background(), Options{Extra: used.extra}); used.err == nil {
		used.config = used.own.Config()
	}
}

// Namespace makes a namespace with a name like the test's, which goes when the test ends.
func Namespace(t testing.TB) string {
	t.Helper()
	client := Client(t)
	made, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: prefix(t.Name())},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("making a namespace: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := client.CoreV1().Namespaces().Delete(ctx, made.Name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("deleting namespace %s: %v", made.Name, err)
		}
	})
	// Pods are refused until the account that they run as exists; no need to wait for a controller.
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := client.CoreV1().ServiceAccounts(made.Name).Create(t.Context(), account,
		metav1.CreateOptions{}); err != nil {
		t.Fatalf("making the default account of %s: %v", made.Name, err)
	}
	return made.Name
}

// Client is the administrator's client of the built-in kinds. Only tests may be as large as it is.
func Client(t testing.TB) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(Config(t))
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	return client
}

// Eventually waits until a condition holds, and fails the test with what is still missing if it does
// not within a minute. The condition returns nil when it holds.
func Eventually(t testing.TB, condition func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := poll(ctx, condition); err != nil {
		t.Fatal(err)
	}
}

// poll tries a condition until it holds or ctx ends; then the error is the condition's last.
func poll(ctx context.Context, condition func(context.Context) error) error {
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// prefix turns the name of a test into the beginning of an object's name.
func prefix(test string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, strings.TrimPrefix(test, "Test"))
	return strings.Trim(name[:min(len(name), 40)], "-") + "-"
}
