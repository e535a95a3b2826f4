package failure

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Guard calls fn. A panic in it becomes an error, and its stack goes to the log: a program that holds traffic gives it
// back after a bug as after any other error, and does not end with the exit code of wrong parameters, as Go would.
func Guard(fn func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			slog.Error("panic", "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
			err = fmt.Errorf("a bug in Serin: panic: %v: the step's log has the stack, please report it", cause)
		}
	}()
	return fn()
}
