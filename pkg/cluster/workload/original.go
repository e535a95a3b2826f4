package workload

import "k8s.io/apimachinery/pkg/runtime"

// Original is the pod template that a target would have for what its primary runs: Template the other way round.
func (c Copy) Original(target, primary *Deployment) map[string]any {
	template := runtime.DeepCopyJSON(primary.template())
	setLabels(template, map[string]string{c.key: c.from})
	setLabels(template, target.Spec.Selector.MatchLabels)
	back := Copy{c.key, c.to, c.from, primary.Spec.Template.Metadata.Labels}
	if spec, ok := template["spec"].(map[string]any); ok {
		back.RenameSelectors(spec["affinity"])
		back.RenameSelectors(spec["topologySpreadConstraints"])
	}
	return template
}

// Runs says whether a primary has the template that the target would give it, as edit leaves both.
func (c Copy) Runs(target, primary *Deployment, edit func(template map[string]any)) bool {
	now, wanted := runtime.DeepCopyJSON(primary.template()), c.Template(target, primary)
	edit(now)
	edit(wanted)
	return revisionOf(now) == revisionOf(wanted)
}
