package environment

import (
	"errors"

	"github.com/serin-cd/serin/pkg/gitops/splice"
)

// readKustomize finds the images of a kustomization.
func readKustomize(r *reader) (*contents, error) {
	c := &contents{advice: "add the image to the images of the kustomization yourself, below the resources that use it"}
	for _, folder := range []string{"", "*/", "*/*/"} {
		for _, name := range []string{"kustomization.yaml", "kustomization.yml", "Kustomization"} {
			files, err := r.glob(folder + name)
			if err != nil {
				return nil, err
			}
			for _, f := range files {
				for _, document := range f.Documents() {
					pins, err := kustomization(document)
					if err != nil {
						return nil, err
					}
					c.pins = append(c.pins, pins...)
				}
			}
		}
	}
	if len(c.pins) == 0 {
		return nil, nil
	}
	return c, nil
}

// kustomization are the applications that one has the versions of: by image, and by the charts that it inflates.
func kustomization(document splice.Value) ([]pin, error) {
	all, err := images(document, "images")
	if err != nil {
		return nil, err
	}
	charts, err := document.Get("helmCharts")
	if errors.Is(err, splice.ErrAbsent) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	for _, chart := range charts.Items() {
		app := scalar(chart, "releaseName")
		if app == "" {
			app = scalar(chart, "name")
		}
		var given []values
		if inline, err := chart.Get("valuesInline"); err == nil {
			given = append(given, mapping(inline))
		}
		p, err := released(app, chart, given)
		if err != nil {
			return nil, err
		}
		all = append(all, *p)
	}
	return all, nil
}

// images are the applications by the images that a list gives new tags.
func images(v splice.Value, at string) ([]pin, error) {
	list, err := v.At(at)
	if errors.Is(err, splice.ErrAbsent) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []pin
	for _, image := range list.Items() {
		if !image.Mapping() { // Argo's way: name=new:tag in one text
			text, err := image.Scalar()
			if err != nil {
				return nil, err
			}
			if p := reference(repository(replaced(text)), image); p != nil {
				all = append(all, *p)
			}
			continue
		}
		p := pin{app: repository(scalar(image, "name"))}
		p.at, err = image.Get("newTag")
		if errors.Is(err, splice.ErrAbsent) {
			p.at, p.key, err = image, "newTag", nil
		}
		if err != nil {
			return nil, err
		}
		if digest, err := image.Get("digest"); err == nil && !blank(digest) {
			p.refuse = "stands beside a digest, which decides: take the digest out"
		}
		all = append(all, p)
	}
	return all, nil
}

// released is the place that has the version of a chart's release: the tag of its image, or the version of the chart
// beside its name.
func released(app string, release splice.Value, given []values) (*pin, error) {
	p, err := tag(app, given)
	if err != nil || p != nil {
		return p, err
	}
	p = &pin{app: app, of: ofChart, values: given}
	p.at, err = release.Get("version")
	if errors.Is(err, splice.ErrAbsent) || err == nil && p.at.Empty() {
		p.at, p.key, err = release, "version", nil
	}
	return p, err
}
