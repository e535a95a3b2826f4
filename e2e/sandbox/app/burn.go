package main

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// burn uses up this much of a processor's time, however many others want it too.
func burn(d time.Duration) {
	if d <= 0 {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for until := threadTime() + d; threadTime() < until; {
	}
}

// threadTime is what the calling thread has used of processors.
func threadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 1<<63 - 1 // a kernel without this clock: nothing is used up
	}
	return time.Duration(t.Nano())
}
