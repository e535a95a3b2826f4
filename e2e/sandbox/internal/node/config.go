package node

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// Config is all that a node is made of. It is a file in the node's folder.
type Config struct {
	Name       string
	Dir        string // of the node's state; everything in it goes when the node does
	Hostname   string
	NodeIP     string // in a /24 with HostIP
	HostIP     string
	Veth       string // name of the pair's end on the host
	Cgroup     string // path of pods' cgroups, e.g. /serin-default
	Components []Component
}

// Component is a program that is kept running.
type Component struct {
	Name    string
	Command []string
	Env     []string // besides PATH
	Boot    bool     // started with the node, not on request
	Nice    int      // priority, -20 to 19 as in sched(7): 5 less is three times the share of the processors
}

// Status is a component as it is now.
type Status struct {
	Name     string `json:"name"`
	State    string `json:"state"` // running, stopped, or failed: it ended and will be started again
	PID      int    `json:"pid"`   // in the node's PID namespace; 0 unless running
	Restarts int    `json:"restarts"`
}

// Files of a node's folder.
const (
	configFile  = "node.json"
	controlFile = "control.sock"
	lockFile    = "lock"
)

// LogDir holds one NAME.log per component.
func (c Config) LogDir() string { return filepath.Join(c.Dir, "log") }

// Log is the file that a component writes to.
func (c Config) Log(component string) string { return filepath.Join(c.LogDir(), component+".log") }

func (c Config) write() error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.Dir, configFile), b, 0o600)
}

// Read returns the configuration of the node in dir.
func Read(dir string) (Config, error) {
	var c Config
	b, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(b, &c)
}
