// Command app is the application that tests release: it answers, and misbehaves as its environment or a request tells
// it to.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// lameDuck is how long it serves after SIGTERM while it is unready, so that proxies have stopped sending when it ends.
const lameDuck = 3 * time.Second

func main() {
	do := run
	if len(os.Args) == 3 && os.Args[1] == "get" { // app get URL: an HTTP client, for pods that have nothing else
		do = func() error { return get(os.Args[2], os.Stdout) }
	}
	if err := do(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	b, err := fromEnvironment(os.Getenv)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	server := &http.Server{Addr: ":" + port, Handler: newApp(b, os.Exit)}
	app := server.Handler.(*app)
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	log.Printf("version %s listens on :%s", b.Version, port)
	if b.CrashAfter > 0 {
		time.AfterFunc(b.CrashAfter, func() { os.Exit(1) })
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	app.leave()
	select {
	case err := <-ended:
		return err
	case <-time.After(lameDuck):
	}
	drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return fmt.Errorf("draining: %w", err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// fromEnvironment reads a behaviour. What is not set is as a good application is.
func fromEnvironment(getenv func(string) string) (behaviour, error) {
	b := behaviour{Version: getenv("VERSION"), FailStatus: http.StatusInternalServerError}
	if b.Version == "" {
		b.Version = "unknown"
	}
	numbers := map[string]*int{"FAIL_EVERY": &b.FailEvery, "FAIL_STATUS": &b.FailStatus}
	durations := map[string]*time.Duration{"DELAY": &b.Delay, "CPU_TIME": &b.CPUTime,
		"FAIL_AFTER": &b.FailAfter, "READY_AFTER": &b.ReadyAfter, "CRASH_AFTER": &b.CrashAfter}
	for name, to := range numbers {
		if err := parse(getenv(name), name, to, strconv.Atoi); err != nil {
			return b, err
		}
	}
	for name, to := range durations {
		if err := parse(getenv(name), name, to, time.ParseDuration); err != nil {
			return b, err
		}
	}
	return b, parse(getenv("NEVER_READY"), "NEVER_READY", &b.NeverReady, strconv.ParseBool)
}

func parse[T any](text, name string, to *T, parser func(string) (T, error)) error {
	if text == "" {
		return nil
	}
	v, err := parser(text)
	if err != nil {
		return fmt.Errorf("reading environment %s: %w", name, err)
	}
	*to = v
	return nil
}

// get prints the answer of url. A status of 400 and above is an error.
func get(url string, to io.Writer) error {
	client := http.Client{Timeout: 10 * time.Second}
	res, err := client.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(to, res.Body); err != nil {
		return err
	}
	if res.StatusCode >= 400 {
		return fmt.Errorf("getting %s: %s", url, res.Status)
	}
	return nil
}
