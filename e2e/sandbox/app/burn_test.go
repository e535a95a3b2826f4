package main

import (
	"runtime"
	"testing"
	"time"
)

func TestBurn(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadTime()
	burn(20 * time.Millisecond)
	if used := threadTime() - before; used < 20*time.Millisecond {
		t.Errorf("used %s of a processor, want at least 20 ms", used)
	}
}
