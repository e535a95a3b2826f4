// Command tkn starts a plugin as tkn does: it finds it by tkn's own rules, and becomes it.
package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/tektoncd/cli/pkg/plugins"
)

func main() {
	program, err := plugins.FindPlugin(os.Args[1])
	if err == nil {
		err = syscall.Exec(program, append([]string{program}, os.Args[2:]...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
