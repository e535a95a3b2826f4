package drain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// propagation is how long after a change proxies may not yet have learnt it.
const propagation = time.Second

// observation is what the samples say.
type observation struct {
	state   state
	text    string        // why, with numbers
	calling int           // series of calling proxies, canary or not
	gap     time.Duration // between two scrapes, 0 where unknown
}

// judge is a function of samples alone. A canary's series is one of its Service or of its workload: a
// proxy that reached no pod knows only the Service. Where no calling proxy counts, those that are called
// can prove that somebody sends, and nothing else: their series end with their pod.
func judge(w Workload, series map[model.Fingerprint]*model.SampleStream, changed time.Time) observation {
	var o observation
	var senders, received, waiting []string
	var gaps []time.Duration
	canary, scraped := 0, 0
	for _, s := range series {
		calling := s.Metric["reporter"] != "destination"
		h := read(s.Values, changed)
		if calling {
			o.calling++
			gaps = append(gaps, h.gaps...)
			scraped = max(scraped, h.after)
		}
		if !w.drained(s.Metric) {
			continue
		}
		switch {
		case h.after >= 2 && h.growth != 0 && !calling:
			received = append(received, sender(s.Metric, h))
		case h.after >= 2 && h.growth != 0:
			senders = append(senders, sender(s.Metric, h))
		case !calling:
		case h.after >= 2:
			canary++
		case h.after == 0 && h.gone:
		default:
			waiting = append(waiting, sender(s.Metric, h))
		}
	}
	if o.gap = median(gaps); o.calling == 0 {
		senders = received
	}
	return o.concluded(senders, waiting, canary, scraped)
}

func (o observation) concluded(senders, waiting []string, canary, scraped int) observation {
	slices.Sort(senders)
	slices.Sort(waiting)
	switch {
	case len(senders) > 0:
		o.state, o.text = sending, "still sending: "+few(senders)
	case len(waiting) > 0:
		o.state, o.text = unknown, "fewer than 2 scrapes since the change: "+few(waiting)
	case canary > 0:
		o.state, o.text = quiet, fmt.Sprintf("%d series of the canary unchanged over 2 scrapes", canary)
	case scraped >= 2:
		o.state, o.text = quiet, "no requests to the canary, and 2 scrapes of the application since the change"
	case o.calling > 0:
		o.state, o.text = unknown, fmt.Sprintf("%d scrapes of the application since the change, want 2", scraped)
	default:
		o.state, o.text = unknown, "no calling proxy has counted a request of this application"
	}
	return o
}

// few names the first three.
func few(texts []string) string {
	if n := len(texts) - 3; n > 0 {
		texts = append(slices.Clone(texts[:3]), fmt.Sprintf("%d more", n))
	}
	return strings.Join(texts, ", ")
}

func sender(m model.Metric, h history) string {
	from := m["source_workload"]
	if from == "" {
		from = m["instance"]
	}
	text := fmt.Sprintf("%s (%s, code %s", from, m["reporter"], m["response_code"])
	if h.after < 2 {
		return fmt.Sprintf("%s, %d since the change)", text, h.after)
	}
	return fmt.Sprintf("%s, %s requests in %s)", text, amount(h.growth), h.span.Round(time.Millisecond))
}

func (w Workload) drained(m model.Metric) bool {
	service := string(m["destination_service_name"]) == w.name() &&
		string(m["destination_service_namespace"]) == w.Namespace
	workload := string(m["destination_workload"]) == w.deployment() &&
		string(m["destination_workload_namespace"]) == w.Namespace
	return service || workload
}

// history is one series around the change.
type history struct {
	after  int           // samples since the change has reached the proxies
	growth float64       // from the last sample but one to the last; after a restart the last itself
	span   time.Duration // between those two
	gone   bool          // had already ended when the change was made
	gaps   []time.Duration
}

func read(samples []model.SamplePair, changed time.Time) history {
	var h history
	from := changed.Add(propagation)
	for i, s := range samples {
		if i > 0 {
			h.gaps = append(h.gaps, s.Timestamp.Sub(samples[i-1].Timestamp))
		}
		if s.Timestamp.Time().Before(from) {
			continue
		}
		if h.after++; h.after >= 2 {
			previous := samples[i-1]
			h.span = s.Timestamp.Sub(previous.Timestamp)
			if h.growth = float64(s.Value - previous.Value); h.growth < 0 {
				h.growth = float64(s.Value)
			}
		}
	}
	if h.after == 0 && len(samples) > 0 {
		usual := max(median(h.gaps), 5*time.Second)
		if len(samples) == 1 {
			usual = time.Minute
		}
		h.gone = changed.Sub(samples[len(samples)-1].Timestamp.Time()) > 5*usual/2
	}
	return h
}

func median(gaps []time.Duration) time.Duration {
	if len(gaps) == 0 {
		return 0
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}
