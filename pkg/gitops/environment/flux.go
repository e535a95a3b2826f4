package environment

import (
	"errors"
	"strings"

	"github.com/serin-cd/serin/pkg/gitops/splice"
)

// readFlux finds the HelmReleases of Flux, and the images of its Kustomizations.
func readFlux(r *reader) (*contents, error) {
	c := &contents{advice: "write its HelmRelease yourself"}
	documents, err := r.manifests("HelmRelease", "Kustomization", "OCIRepository", "HelmChart")
	if err != nil {
		return nil, err
	}
	for _, document := range documents {
		var pins []pin
		group, _, _ := strings.Cut(scalar(document, "apiVersion"), "/")
		switch {
		case group == "kustomize.toolkit.fluxcd.io":
			pins, err = images(document, "spec.images")
		case group == "helm.toolkit.fluxcd.io":
			pins, err = flux(document, documents)
		}
		if err != nil {
			return nil, err
		}
		c.pins = append(c.pins, pins...)
	}
	if len(c.pins) == 0 {
		return nil, nil
	}
	return c, nil
}

// flux is the place that has the version of a HelmRelease: the tag of its image, or the version of its chart.
func flux(release splice.Value, all []splice.Value) ([]pin, error) {
	app := scalar(release, "spec.releaseName")
	if app == "" {
		app = scalar(release, "metadata.name")
	}
	var given []values
	if v, err := release.At("spec.values"); err == nil {
		given = append(given, mapping(v))
	}
	p, err := tag(app, given)
	if err != nil {
		return nil, err
	}
	if p == nil {
		if p, err = fluxChart(app, release, all, given); err != nil {
			return nil, err
		}
	}
	return []pin{*p}, nil
}

func fluxChart(app string, release splice.Value, all []splice.Value, given []values) (*pin, error) {
	if ref, err := release.At("spec.chartRef"); err == nil {
		return fluxRef(app, ref, all, given)
	}
	spec, err := release.At("spec.chart.spec")
	if err != nil {
		return nil, err
	}
	p, err := released(app, spec, given)
	if err != nil {
		return nil, err
	}
	if kind := scalar(spec, "sourceRef.kind"); kind == "GitRepository" || kind == "Bucket" {
		p.refuse = "has a chart of a " + kind + ", whose version no release names: have its values name image.tag"
	}
	return p, nil
}

// fluxRef is the version of the chart that a release refers to, which is an object of its own.
func fluxRef(app string, ref splice.Value, all []splice.Value, given []values) (*pin, error) {
	kind, name := scalar(ref, "kind"), scalar(ref, "name")
	for _, document := range all {
		if scalar(document, "kind") != kind || scalar(document, "metadata.name") != name {
			continue
		}
		if kind == "HelmChart" {
			spec, err := document.Get("spec")
			if err != nil {
				return nil, err
			}
			return released(app, spec, given)
		}
		p := &pin{app: app, of: ofChart, values: given}
		if digest, err := document.At("spec.ref.digest"); err == nil && !blank(digest) {
			p.refuse = "stands beside a digest, which decides: take the digest out"
		}
		for _, at := range []string{"spec.ref.semver", "spec.ref.tag"} {
			found, err := document.At(at)
			if errors.Is(err, splice.ErrAbsent) {
				continue
			}
			if p.at = found; err != nil || !blank(found) {
				return p, err
			}
		}
		return &pin{app: app, at: document, key: "tag", values: given,
			refuse: "names no version: write spec.ref.tag there"}, nil
	}
	return &pin{app: app, at: ref, key: "version", values: given,
		refuse: "refers to " + kind + " " + name + ", which is not in the directory: name one that has it"}, nil
}
