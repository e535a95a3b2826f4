package sequential

import "time"

const (
	silentFor      = time.Minute
	silentCells    = 3
	silentRequests = 20 // of the canary that are expected while it is silent
	// blindFor is how long the primary must not be counted either where Prometheus is blind, as many cells at least:
	// less, with the wait for the canary's own scrape, is no silence yet.
	blindFor = 45 * time.Second
)

// silent says whether the canary has counted nothing for a while in which it should have counted much: what is called
// cannot tell that nobody can call it. A time in which the primary was not counted either is Prometheus's own silence,
// after which the canary may be scraped last.
func (w *weighing) silent(last Stage) bool {
	from, counted, blind := last.At, last.At, max(blindFor, silentCells*w.Grid)
	for _, i := range w.Instants {
		if i.At <= last.At || i.At > w.Until {
			continue
		}
		if i.Canary.Requests > 0 {
			from = i.At
		}
		if i.Primary.Requests > 0 {
			if i.At-counted >= blind {
				from = i.At
			}
			counted = i.At
		}
	}
	if w.Until-counted >= blind {
		return false
	}
	expected := w.after(from).Primary.Requests * last.Weight / (1 - last.Weight)
	return w.Until-from >= max(silentFor, silentCells*w.Grid) && expected >= silentRequests
}
