package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchies are the mount points of cgroup file systems: one each with version 1, the root alone with version 2.
func hierarchies() []string {
	if isCgroup(cgroupRoot) {
		return []string{cgroupRoot}
	}
	found, _ := filepath.Glob(cgroupRoot + "/*")
	var all []string
	for _, dir := range found {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() && isCgroup(dir) {
			all = append(all, dir)
		}
	}
	return all
}

func isCgroup(dir string) bool {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return false
	}
	return st.Type == unix.CGROUP_SUPER_MAGIC || st.Type == unix.CGROUP2_SUPER_MAGIC
}

// makeCgroups makes the folder that all pods' cgroups are in, in every hierarchy.
func makeCgroups(path string) error {
	for _, h := range hierarchies() {
		dir := filepath.Join(h, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making cgroup %s: %w", dir, err)
		}
		// empty in a new group, which then takes no process
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if filepath.Base(h) != "cpuset" {
				continue
			}
			b, err := os.ReadFile(filepath.Join(h, file))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, file), b, 0o644); err != nil {
				return fmt.Errorf("setting %s of cgroup %s: %w", file, dir, err)
			}
		}
		if h == cgroupRoot {
			if err := delegate(h); err != nil {
				return err
			}
		}
		if err := weigh(dir); err != nil {
			return err
		}
	}
	return nil
}

// weight is how many processes of the machine all pods together weigh as much as. They are one group beside each of
// these: with the weight of one they would all be late while other programs compute.
const weight = 16

func weigh(dir string) error {
	// of one process, in version 1 and 2
	for file, share := range map[string]int{"cpu.shares": 1024, "cpu.weight": 100} {
		file = filepath.Join(dir, file)
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.WriteFile(file, []byte(strconv.Itoa(weight*share)), 0o644); err != nil {
			return fmt.Errorf("giving the pods their share of the processors: %w", err)
		}
	}
	return nil
}

// delegate gives the groups below dir every controller that dir has (version 2 only).
func delegate(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, c := range strings.Fields(string(b)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0o644); err != nil {
			return fmt.Errorf("handing on the cgroup controller %s: %w", c, err)
		}
	}
	return nil
}

// removeCgroups removes the folder and all below it; processes that are still dying delay it up to the limit.
func removeCgroups(path string, limit time.Duration) error {
	if len(path) < 2 {
		return nil
	}
	deadline := time.Now().Add(limit)
	for {
		left := removeCgroupsOnce(path)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("removing cgroups: %s still have processes", strings.Join(left, ", "))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func removeCgroupsOnce(path string) (left []string) {
	for _, h := range hierarchies() {
		top := filepath.Join(h, path)
		var dirs []string
		_ = filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
		slices.Reverse(dirs) // children before parents
		for _, dir := range dirs {
			_ = os.Remove(dir)
		}
		if _, err := os.Stat(top); err == nil {
			left = append(left, top)
		}
	}
	return left
}
