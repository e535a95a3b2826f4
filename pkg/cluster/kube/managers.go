package kube

import (
	"bytes"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FieldManager is the name under which Serin writes.
const FieldManager = "serin"

// nobody is who wrote a field of which an object does not tell it.
const nobody = "somebody"

// Writer names the field manager, other than Serin, that last wrote a field of an object, and "somebody" where
// the object does not tell. The field is the name of a member, at any depth but in the status.
func Writer(object metav1.Object, field string) string {
	if writer, ok := Other(object, field); ok {
		return writer
	}
	return nobody
}

// Other names the field manager, other than Serin, that a field belongs to since it last changed it, if there is one.
func Other(object metav1.Object, field string) (writer string, ok bool) {
	newest := metav1.Time{}
	for _, entry := range object.GetManagedFields() {
		if entry.Manager == FieldManager || entry.Subresource == "status" || entry.FieldsV1 == nil ||
			!bytes.Contains(entry.FieldsV1.GetRawBytes(), []byte(`"f:`+field+`"`)) {
			continue
		}
		if entry.Time != nil && !entry.Time.Before(&newest) {
			writer, newest, ok = entry.Manager, *entry.Time, true
		}
	}
	return writer, ok
}
