// Command tkn-canary is Serin's command line. As a plugin of tkn it is called `tkn canary`.
package main

import (
	"fmt"
	"os"

	"github.com/serin-cd/serin/pkg/task/failure"
)

func main() {
	cmd := root()
	if err := told(cmd, cmd.Execute()); err != nil {
		fmt.Fprintln(os.Stderr, "tkn canary:", err)
		os.Exit(failure.Code(err))
	}
}
