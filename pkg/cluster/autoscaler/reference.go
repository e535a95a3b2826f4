package autoscaler

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Kind is a kind of autoscaler.
type Kind string

// The kinds.
const (
	HPA          Kind = "HorizontalPodAutoscaler" // autoscaling/v2
	ScaledObject Kind = "ScaledObject"            // KEDA's, keda.sh/v1alpha1
)

// Reference names an autoscaler of the application's namespace. The zero value names none.
type Reference struct {
	Kind Kind
	Name string
}

// String is KIND/NAME, empty for none.
func (r Reference) String() string {
	if r.Kind == "" {
		return ""
	}
	return string(r.Kind) + "/" + r.Name
}

// Gone is what is noted of a target that has no autoscaler any more, though the primary still has Serin's.
const Gone = "none"

// Noted reads what String has written; what it has not names none.
func Noted(text string) Reference {
	kind, name, _ := strings.Cut(text, "/")
	if k := Kind(kind); name != "" && (k == HPA || k == ScaledObject) {
		return Reference{k, name}
	}
	return Reference{}
}

// Choice says which autoscaler is the target's.
type Choice string

// The choices that name none.
const (
	Auto Choice = "auto" // the one that scales the target
	None Choice = "none" // Serin looks for none
)

// kinds are the words for a kind that people may write.
var kinds = map[string]Kind{
	"hpa": HPA, "horizontalpodautoscaler": HPA, "so": ScaledObject, "scaledobject": ScaledObject,
}

// EnvDecode reads auto, none or KIND/NAME.
func (c *Choice) EnvDecode(text string) error {
	*c = Choice(text)
	if *c == Auto || *c == None {
		return nil
	}
	word, name, _ := strings.Cut(text, "/")
	kind, known := kinds[strings.ToLower(word)]
	if !known || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return fmt.Errorf("%q, want auto, none, HorizontalPodAutoscaler/NAME or ScaledObject/NAME", text)
	}
	*c = Choice(Reference{kind, name}.String())
	return nil
}

// Config says which autoscaler is the target's, and how the primary's differs.
type Config struct {
	// Autoscaler of the application's Deployment, which the primary gets a copy of: auto finds the
	// HorizontalPodAutoscaler or KEDA ScaledObject that scales it, HorizontalPodAutoscaler/NAME or ScaledObject/NAME
	// names it, and none leaves autoscalers alone.
	Autoscaler Choice `env:"AUTOSCALER, default=auto"`
	Bounds     Bounds
}

// Bounds are those of the primary's autoscaler where they are not to be the target's.
type Bounds struct {
	// Least number of pods that the primary's autoscaler keeps. Empty takes that of the Deployment's autoscaler.
	Min parameter.Pods `env:"PRIMARY_MIN_REPLICAS"`
	// Greatest number of pods that the primary's autoscaler asks for. Empty takes that of the Deployment's autoscaler.
	Max parameter.Pods `env:"PRIMARY_MAX_REPLICAS"`
}
