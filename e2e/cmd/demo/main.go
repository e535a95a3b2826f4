// Command demo plays the story of three releases, a first one, a good one and a bad one, in a sandbox of its own or in
// a cluster that is already there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/serin-cd/serin/e2e/demo"
	"github.com/serin-cd/serin/e2e/sandbox"
)

const usage = `demo plays three releases: a first one, a good one, and a bad one that is taken back.

It builds and boots a sandbox of its own, and ends it. With KUBECONTEXT it uses a
cluster that is already there, with Tekton and Istio. In that cluster it makes a
namespace serin-demo-XXXXX, and removes it however it ends; it changes nothing else.
It needs kubectl, and from the environment:

  KUBECONTEXT         context of the kubeconfig
  KO_DOCKER_REPO      repository that this machine may push the images to, as docker's
                      configuration says, and that nodes may pull from without a secret
  PROMETHEUS_URL      Prometheus, as this machine reaches it
  GATEWAY_URL         the ingress gateway, as this machine reaches it
  POD_PROMETHEUS_URL  Prometheus, as pods reach it (http://prometheus.istio-system:9090)
  GATEWAY_SELECTOR    labels of the gateway's pods (istio=ingressgateway)
  INTERVAL            from check to check: 1m, or 15s where Prometheus scrapes each 5s (1m)

What is missing is named, all at once, before anything is changed. The images are
for this machine's architecture.
`

func main() {
	flag.Usage = func() { fmt.Fprint(flag.CommandLine.Output(), usage) }
	flag.Parse()
	// the last is what a terminal sends that is closed
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := play(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func play(ctx context.Context) (err error) {
	sb, err := sandbox.Up(ctx, sandbox.Options{Name: "demo", Out: os.Stderr, Existing: sandbox.FromEnvironment()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sb.Down()) }()
	return demo.Play(ctx, sb, demo.Options{Out: os.Stdout, Terminal: term.IsTerminal(int(os.Stdout.Fd())),
		Interval: os.Getenv("INTERVAL")})
}
