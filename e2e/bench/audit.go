package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// Calls are the API calls that the steps of one run made.
type Calls struct {
	Of    string         `json:"of"`
	Total int            `json:"total"`
	Steps []Step         `json:"steps"`
	Tasks map[string]int `json:"tasks"`
}

// Step is one program of one pod.
type Step struct {
	Task  string         `json:"task"`
	Step  string         `json:"step"`
	Total int            `json:"total"`
	Verbs map[string]int `json:"verbs"`
}

// auditEvent is what is read of a line of the API server's audit log.
type auditEvent struct {
	Stage            string
	Verb             string
	UserAgent        string
	User             auditUser
	ImpersonatedUser *auditUser
	ResponseStatus   struct{ Code int }
}

type auditUser struct {
	Username string
	Extra    map[string][]string
}

// PodName is the key under which the API server keeps the pod that an account's token was made for.
const PodName = "authentication.kubernetes.io/pod-name"

// Call is an API call that a step made.
type Call struct {
	Namespace, Pod string
	Step           string
	Verb           string
	Status         int // HTTP
}

// ReadCalls reads the calls of the accounts serin, in the order in which they ended. A watch is one when it begins.
func ReadCalls(log io.Reader, each func(Call)) error {
	return readEvents(log, func(e auditEvent) {
		if call, ok := e.call(); ok {
			each(call)
		}
	})
}

func readEvents(log io.Reader, each func(auditEvent)) error {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e auditEvent
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			continue // the last line may be half written
		}
		each(e)
	}
	return lines.Err()
}

func (e auditEvent) call() (Call, bool) {
	user := e.User
	if e.ImpersonatedUser != nil {
		user = *e.ImpersonatedUser
	}
	account, ok := strings.CutPrefix(user.Username, "system:serviceaccount:")
	namespace, of := strings.CutSuffix(account, ":serin")
	return Call{
		Namespace: namespace, Pod: strings.Join(user.Extra[PodName], ""),
		Step: strings.TrimPrefix(e.UserAgent, "serin/"), Verb: e.Verb, Status: e.ResponseStatus.Code,
	}, ok && of && e.counts()
}

// counts says whether an event stands for its call, of which the log has several. A watch is a call when it begins.
func (e auditEvent) counts() bool {
	if e.Verb == "watch" && e.ResponseStatus.Code < 300 {
		return e.Stage == "ResponseStarted"
	}
	return e.Stage == "ResponseComplete"
}

// countAgent counts the calls that a program made, whoever ran it.
func countAgent(file, agent string) (int, error) {
	n := 0
	err := readFile(file, func(e auditEvent) {
		if e.UserAgent == agent && e.counts() {
			n++
		}
	})
	return n, err
}

func readFile(file string, each func(auditEvent)) error {
	log, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	defer log.Close()
	return readEvents(log, each)
}

// Add counts a call of a task's pod.
func (c *Calls) Add(task string, call Call) {
	i := slices.IndexFunc(c.Steps, func(s Step) bool { return s.Task == task && s.Step == call.Step })
	if i < 0 {
		i = len(c.Steps)
		c.Steps = append(c.Steps, Step{Task: task, Step: call.Step, Verbs: map[string]int{}})
	}
	if c.Tasks == nil {
		c.Tasks = map[string]int{}
	}
	c.Steps[i].Total++
	c.Steps[i].Verbs[call.Verb]++
	c.Tasks[task]++
	c.Total++
}

// count reads the calls in a namespace, by the pods of a run; an empty run counts all.
func count(log io.Reader, namespace, run string) (Calls, error) {
	c := Calls{Of: run}
	err := ReadCalls(log, func(call Call) {
		task, ok := strings.CutPrefix(call.Pod, run+"-")
		if call.Namespace == namespace && (ok || run == "") {
			c.Add(strings.TrimSuffix(task, "-pod"), call)
		}
	})
	slices.SortFunc(c.Steps, func(a, b Step) int { return strings.Compare(a.Task+" "+a.Step, b.Task+" "+b.Step) })
	return c, err
}

func countFile(file, namespace, run string) (Calls, error) {
	log, err := os.Open(file)
	if err != nil {
		return Calls{}, fmt.Errorf("reading the audit log: %w", err)
	}
	defer log.Close()
	return count(log, namespace, run)
}

// stage is the stage that made the most calls, and how many.
func (c Calls) stage() (string, int) {
	name, most := "", 0
	for _, task := range slices.Sorted(maps.Keys(c.Tasks)) {
		if n := c.Tasks[task]; strings.HasPrefix(task, "stage-") && n > most {
			name, most = task, n
		}
	}
	return name, most
}

// table lists the steps in the order of their tasks.
func (c Calls) table() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	verbs := []string{"get", "list", "watch", "create", "patch"}
	fmt.Fprintln(t, "TASK\tSTEP\tCALLS\t"+strings.ToUpper(strings.Join(verbs, "\t")))
	order := func(s Step) int {
		return slices.IndexFunc([]string{"prepare", "stage", "promote", "finish"},
			func(p string) bool { return strings.HasPrefix(s.Task, p) })
	}
	steps := slices.Clone(c.Steps)
	slices.SortStableFunc(steps, func(a, b Step) int { return order(a) - order(b) })
	for _, s := range steps {
		fmt.Fprintf(t, "%s\t%s\t%d", s.Task, s.Step, s.Total)
		for _, v := range verbs {
			fmt.Fprintf(t, "\t%d", s.Verbs[v])
		}
		fmt.Fprintln(t)
	}
	fmt.Fprintf(t, "all\t\t%d\n", c.Total)
	_ = t.Flush() // to a string
	return b.String()
}
