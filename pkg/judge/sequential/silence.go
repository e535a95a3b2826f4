package sequential

import "time"

const (
	silentFor      = time.Minute
	silentCells    = 3
	silentRequests = 20 // of the canary that are expected while it is silent
)

// silent says whether the canary has counted nothing for a while in which it should have counted much: what is called
// cannot tell that nobody can call it.
func (w *weighing) silent(last Stage) bool {
	from := last.At
	for _, i := range w.Instants {
		if i.At <= w.Until && i.Canary.Requests > 0 {
			from = max(from, i.At)
		}
	}
	expected := w.after(from).Primary.Requests * last.Weight / (1 - last.Weight)
	return w.Until-from >= max(silentFor, silentCells*w.Grid) && expected >= silentRequests
}
