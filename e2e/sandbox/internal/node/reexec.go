package node

import (
	"fmt"
	"os"
)

// Names under which this program is started again, as its argument 0; argument 1 is the node's folder.
const (
	keeperName     = "serin-sandbox-keeper"
	supervisorName = "serin-sandbox-node"
)

// init makes every program that links this package able to be a keeper or a supervisor, test binaries included: a hook
// that they would have to call in TestMain runs the tests again, in the wrong namespaces, where it is forgotten.
func init() {
	if len(os.Args) != 2 {
		return
	}
	var err error
	switch os.Args[0] {
	case keeperName:
		err = keep(os.Args[1])
	case supervisorName:
		err = supervise(os.Args[1])
	default:
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
