package kube

import (
	"bytes"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// FieldManager is the name under which Serin writes.
const FieldManager = "serin"

// nobody is who wrote a field of which an object does not tell it.
const nobody = "somebody"

// Writer names the field manager, other than Serin, that last wrote the field at a path of an object, or anything
// beneath it, and "somebody" where the object does not tell. The path is made of names, as in "spec", "replicas".
func Writer(object metav1.Object, path ...string) string {
	if writer, ok := Other(object, path...); ok {
		return writer
	}
	return nobody
}

// Other names the field manager, other than Serin, that the field at a path belongs to since it last changed it, if
// there is one.
func Other(object metav1.Object, path ...string) (writer string, ok bool) {
	newest := metav1.Time{}
	for _, entry := range object.GetManagedFields() {
		if entry.Manager == FieldManager || entry.Time == nil || entry.Time.Before(&newest) || !Owns(entry, path) {
			continue
		}
		writer, newest, ok = entry.Manager, *entry.Time, true
	}
	return writer, ok
}

// Owns says whether an entry has the field at a path, or one beneath it. One that cannot be read has none.
func Owns(entry metav1.ManagedFieldsEntry, path []string) bool {
	var fields fieldpath.Set
	return entry.FieldsV1 != nil && fields.FromJSON(bytes.NewReader(entry.FieldsV1.GetRawBytes())) == nil &&
		has(&fields, path)
}

func has(fields *fieldpath.Set, path []string) bool {
	name := fieldpath.PathElement{FieldName: &path[0]}
	beneath, deeper := fields.Children.Get(name)
	if len(path) == 1 {
		return deeper || fields.Members.Has(name)
	}
	return deeper && has(beneath, path[1:])
}
