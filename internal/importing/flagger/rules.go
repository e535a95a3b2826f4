package flagger

import (
	"fmt"
	"strings"

	"github.com/serin-cd/serin/internal/importing"
)

type rule = importing.Rule[*canary]

// Why fields of Flagger's are not taken over, and where what they say stands instead.
var (
	inRoute = importing.Always[*canary](importing.Stays,
		"in the VirtualService, whose other fields Serin leaves as they are")
	inService  = importing.Always[*canary](importing.Stays, "in the Service, which Serin leaves as it is")
	described  = importing.Always[*canary](importing.Unneeded, "describes the Canary itself")
	otherMesh  = unsupported("Serin releases through VirtualServices of Istio")
	mirroring  = unsupported("no requests are mirrored: the canary gets real ones from the first stage on")
	abTest     = unsupported("requests are split by weight, not by what they match")
	affinity   = unsupported("each request is split by weight: a client may meet both versions")
	controller = importing.Always[*canary](importing.Unneeded, "there is no controller: a run is started or it is not")
)

func unsupported(why string) rule { return importing.Always[*canary](importing.Unsupported, why) }

// rules are for all fields that a Canary of v1beta1 may have.
var rules = importing.Rules[*canary]{
	"apiVersion": version,
	"kind":       described,
	"metadata":   described,
	"status":     importing.Always[*canary](importing.Unneeded, "a run keeps its state in the VirtualService"),

	"spec.provider":                provider,
	"spec.metricsServer":           server,
	"spec.targetRef.apiVersion":    described,
	"spec.targetRef.kind":          targetKind,
	"spec.targetRef.name":          target,
	"spec.targetRef.namespace":     ownNamespace,
	"spec.progressDeadlineSeconds": progress,
	"spec.skipAnalysis":            skip,
	"spec.suspend":                 controller,
	"spec.revertOnDeletion":        revert,
	"spec.ingressRef":              otherMesh,
	"spec.upstreamRef":             otherMesh,
	"spec.routeRef":                otherMesh,

	"spec.autoscalerRef.apiVersion":                        described,
	"spec.autoscalerRef.kind":                              described,
	"spec.autoscalerRef.name":                              autoscaler,
	"spec.autoscalerRef.namespace":                         ownNamespace,
	"spec.autoscalerRef.primaryScalerReplicas.minReplicas": number("primary-min-replicas"),
	"spec.autoscalerRef.primaryScalerReplicas.maxReplicas": number("primary-max-replicas"),
	"spec.autoscalerRef.primaryScalerQueries": importing.Always[*canary](importing.Unneeded,
		"names in the queries of a ScaledObject are changed for the primary's"),

	"spec.service.name":                serviceName,
	"spec.service.port":                number("port"),
	"spec.service.portName":            inService,
	"spec.service.targetPort":          inService,
	"spec.service.appProtocol":         inService,
	"spec.service.portDiscovery":       inService,
	"spec.service.headless":            inService,
	"spec.service.trafficDistribution": inService,
	"spec.service.apex":                inService,
	"spec.service.primary":             inService,
	"spec.service.canary":              inService,
	"spec.service.unmanagedMetadata":   importing.Always[*canary](importing.Unneeded, "Serin removes no metadata"),
	"spec.service.hosts":               list("hosts"),
	"spec.service.gateways":            list("gateways"),
	"spec.service.gatewayRefs":         unsupported("no HTTPRoute is written: name Istio's Gateway in gateways"),
	"spec.service.delegation":          delegation,
	"spec.service.trafficPolicy": importing.Always[*canary](importing.Stays,
		"in the DestinationRules: Serin copies the policy of yours to primary and canary"),
	"spec.service.match":          inRoute,
	"spec.service.rewrite":        inRoute,
	"spec.service.retries":        inRoute,
	"spec.service.timeout":        inRoute,
	"spec.service.headers":        inRoute,
	"spec.service.corsPolicy":     inRoute,
	"spec.service.mirror":         inRoute,
	"spec.service.backendTimeout": otherMesh,
	"spec.service.meshName":       otherMesh,
	"spec.service.backends":       otherMesh,
}

// analysis are the rules for what is below analysis, which v1alpha3 called canaryAnalysis.
var analysis = importing.Rules[*canary]{
	"interval":              interval,
	"threshold":             threshold,
	"maxWeight":             weights,
	"stepWeight":            weights,
	"stepWeights":           weights,
	"iterations":            unsupported("a stage ends with a verdict: Serin plays no blue/green and no A/B tests"),
	"stepWeightPromotion":   unsupported("the primary gets all traffic at once, when all its new pods are ready"),
	"mirror":                mirroring,
	"mirrorWeight":          mirroring,
	"match":                 abTest,
	"sessionAffinity":       affinity,
	"primaryReadyThreshold": unsupported("all of the primary's pods have to be ready"),
	"canaryReadyThreshold":  unsupported("all of the canary's pods have to be ready"),
	"alerts[]":              alert,
	"metrics[]":             metric,
	"webhooks[]":            webhook,
}

func init() {
	for path, r := range analysis {
		rules["spec.analysis."+path] = r
		rules["spec.canaryAnalysis."+path] = r
	}
}

func version(_ *canary, v importing.Value) (importing.Fate, string, error) {
	text, err := v.Scalar()
	if err != nil {
		return "", "", err
	}
	switch text {
	case Group + "/v1beta1":
		return importing.Unneeded, "describes the Canary itself", nil
	case Group + "/v1alpha3":
		return importing.Unneeded, "the shape of Flagger before 1.0", nil
	}
	return "", "", v.Refusef("%q, want %s/v1beta1", text, Group)
}

func provider(_ *canary, v importing.Value) (importing.Fate, string, error) {
	text, err := v.Scalar()
	if err != nil {
		return "", "", err
	}
	switch {
	case text == "istio":
		return importing.Unneeded, "Serin releases through Istio", nil
	case strings.HasPrefix(text, "gatewayapi:"):
		return importing.Unsupported, "Serin shifts weights in a VirtualService of Istio, not in an HTTPRoute: make " +
			"one, and name Istio's Gateway in parameter gateways", nil
	}
	return importing.Unsupported, "Serin releases through VirtualServices of Istio: the application needs one", nil
}

func server(c *canary, v importing.Value) (importing.Fate, string, error) {
	text, err := v.Scalar()
	if err != nil {
		return "", "", err
	}
	return c.Set("prometheus-url", text)
}

func targetKind(_ *canary, v importing.Value) (importing.Fate, string, error) {
	if text, err := v.Scalar(); err != nil || text != "Deployment" {
		return "", "", v.Refusef("%s, want Deployment: Serin releases nothing else", v.Text())
	}
	return importing.Unneeded, "Serin releases Deployments", nil
}

func target(c *canary, _ importing.Value) (importing.Fate, string, error) {
	return importing.Taken, importing.Assignment("app", c.App.Name), nil
}

func ownNamespace(c *canary, v importing.Value) (importing.Fate, string, error) {
	text, err := v.Scalar()
	if err == nil && text != c.App.Namespace {
		err = v.Refusef("%s, want the Canary's namespace, %s", text, c.App.Namespace)
	}
	return importing.Unneeded, "the namespace of the run", err
}

func progress(c *canary, v importing.Value) (importing.Fate, string, error) {
	d, err := v.Seconds()
	if err != nil {
		return "", "", err
	}
	return c.ProgressDeadline(d)
}

func skip(_ *canary, v importing.Value) (importing.Fate, string, error) {
	on, err := v.Bool()
	if on {
		return importing.Unsupported, "every version is judged", err
	}
	return importing.Unneeded, "every version is judged", err
}

func revert(_ *canary, v importing.Value) (importing.Fate, string, error) {
	on, err := v.Bool()
	if on {
		return importing.Unsupported, "set it to false before you delete the Canary: else Flagger puts back what it " +
			"found", err
	}
	return importing.Unneeded, "nothing is put back when the Canary goes", err
}

func autoscaler(c *canary, v importing.Value) (importing.Fate, string, error) {
	name, err := v.Scalar()
	if err != nil {
		return "", "", err
	}
	return c.Set("autoscaler", c.scaler+"/"+name)
}

func serviceName(c *canary, v importing.Value) (importing.Fate, string, error) {
	name, err := v.Scalar()
	if err != nil {
		return "", "", err
	}
	if name != c.App.Name {
		return importing.Unsupported, fmt.Sprintf("Serin's Services have the Deployment's name: %s, %[1]s-primary and "+
			"%[1]s-canary", c.App.Name), nil
	}
	return importing.Unneeded, "Services have the Deployment's name", nil
}

// number takes a number over as a parameter.
func number(parameter string) rule {
	return func(c *canary, v importing.Value) (importing.Fate, string, error) {
		n, err := v.Int()
		if err != nil {
			return "", "", err
		}
		return c.Set(parameter, fmt.Sprint(n))
	}
}

// list takes texts over as a parameter.
func list(parameter string) rule {
	return func(c *canary, v importing.Value) (importing.Fate, string, error) {
		all, err := v.Strings()
		if err != nil {
			return "", "", err
		}
		return c.Set(parameter, strings.Join(all, ","))
	}
}

func delegation(c *canary, v importing.Value) (importing.Fate, string, error) {
	on, err := v.Bool()
	if err != nil || !on {
		return importing.Unneeded, "the VirtualService has hosts of its own", err
	}
	return c.Set("virtual-services", c.App.Name)
}

func interval(c *canary, v importing.Value) (importing.Fate, string, error) {
	d, err := v.Duration()
	if err != nil {
		return "", "", err
	}
	return c.Interval(max(d, shortest))
}

func threshold(c *canary, v importing.Value) (importing.Fate, string, error) {
	n, err := v.Int()
	if err != nil {
		return "", "", err
	}
	return c.Threshold(max(n, usualThreshold))
}

func weights(c *canary, v importing.Value) (importing.Fate, string, error) {
	note := importing.Weights(c.Plan.Weights)
	if most := c.steps.most; len(c.steps.list) == 0 && most != 0 && most < 100 && most%c.steps.step != 0 {
		note += fmt.Sprintf(": the greatest is %d, where Flagger went on to %d", most,
			(most/c.steps.step+1)*c.steps.step)
	}
	return importing.Taken, note, nil
}
