// Package manifest turns the document of a static pod into the pod the node
// runs: it decodes strictly, defaults as the API server would, gives the pod
// its identity, and refuses what cannot run without an API server or what the
// API server would refuse as a mirror. All of it is pure.
//
// It leaves to its callers where documents come from, what to do about one that
// is refused, and which of two documents for the same pod counts.
package manifest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// ErrEmpty says that there is no document: nothing but white space, comments
// or null. A file that is being rewritten looks like this (SP-15).
var ErrEmpty = errors.New("the document is empty")

// An Origin says where a document was found and on which node.
type Origin struct {
	Node   string    // name of this node
	Source string    // pod.SourceFile or pod.SourceHTTP
	Place  string    // "file:/etc/kubernetes/manifests/etcd.yaml", "url:https://…"; part of the UID
	Seen   time.Time // when the document was first seen
}

// An Issue is one thing wrong or odd about a document.
type Issue struct {
	Line    int    // in the document, counted from 1; 0 if there is no telling
	Field   string // path of the field, "" if it is about the whole document
	Message string
	Hint    string // what the user can do, "" if that is plain from the message
}

// String returns the issue without its line.
func (i Issue) String() string {
	if i.Field == "" {
		return i.Message
	}
	return i.Field + ": " + i.Message
}

// A RefusedError is a document that is no runnable static pod, with everything
// found wrong with it.
type RefusedError struct {
	Issues []Issue // at least one, by line
	Pod    pod.Key // what the pod would be called, as far as the document tells
}

func (e *RefusedError) Error() string {
	all := make([]string, len(e.Issues))
	for i, issue := range e.Issues {
		all[i] = issue.String()
		if issue.Line > 0 {
			all[i] = fmt.Sprintf("line %d: %s", issue.Line, issue)
		}
	}
	return strings.Join(all, "; ")
}

// refuse makes the error for a single issue.
func refuse(line int, format string, args ...any) *RefusedError {
	return &RefusedError{Issues: []Issue{{Line: line, Message: fmt.Sprintf(format, args...)}}}
}

// Pod returns the static pod written in data, with warnings for what is
// ignored in it. The error is ErrEmpty or a *RefusedError.
func Pod(data []byte, o Origin) (*v1.Pod, []Issue, error) {
	doc, err := read(data)
	if err != nil {
		return nil, nil, err
	}
	if err := doc.expectPod(); err != nil {
		return nil, nil, err
	}
	return static(doc, o)
}

// Pods returns the static pods of data, which holds a Pod or a PodList, as only
// a URL may serve it (SP-61). One bad item refuses the whole document.
func Pods(data []byte, o Origin) ([]*v1.Pod, []Issue, error) {
	doc, err := read(data)
	if err != nil {
		return nil, nil, err
	}
	if !doc.isList() {
		p, warnings, err := Pod(data, o)
		if err != nil {
			return nil, nil, err
		}
		return []*v1.Pod{p}, warnings, nil
	}
	items, err := doc.items()
	if err != nil {
		return nil, nil, err
	}
	var pods []*v1.Pod
	var warnings []Issue
	for _, item := range items {
		p, w, err := static(item, o)
		if err != nil {
			return nil, nil, err
		}
		pods, warnings = append(pods, p), append(warnings, w...)
	}
	return pods, warnings, nil
}

// static is the way from a document to a pod.
func static(doc *document, o Origin) (*v1.Pod, []Issue, error) {
	p, warnings, err := doc.decode()
	if err != nil {
		return nil, nil, err
	}
	if p.Name == "" {
		return nil, nil, doc.refuse(Issue{
			Field: "metadata.name", Message: "a static pod needs a name", Hint: nameHint(p),
		})
	}
	setDefaults(p)
	if err := identify(p, doc.json, o); err != nil {
		return nil, nil, err
	}
	issues := referenceIssues(p)
	issues = append(issues, validationIssues(p)...)
	if len(issues) > 0 {
		refused := doc.refuse(append(issues, warnings...)...) // a misspelt field is why another is missing
		refused.Pod = pod.KeyOf(p)
		return nil, nil, refused
	}
	return p, append(warnings, doc.locate(priorityIssues(p))...), nil
}

func nameHint(p *v1.Pod) string {
	if p.GenerateName != "" {
		return "generateName has no meaning in a file; write metadata.name"
	}
	return ""
}

// refuse returns the issues as an error, in the order of their lines.
func (d *document) refuse(issues ...Issue) *RefusedError {
	return &RefusedError{Issues: d.locate(issues)}
}

// locate adds to each issue the line of its field and sorts them by line.
func (d *document) locate(issues []Issue) []Issue {
	for i := range issues {
		if issues[i].Line == 0 {
			issues[i].Line = d.line(issues[i].Field)
		}
	}
	slices.SortStableFunc(issues, func(a, b Issue) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Field, b.Field))
	})
	return issues
}

// expectPod refuses what is not a v1 Pod (SP-8, SP-11).
func (d *document) expectPod() error {
	version, kind := d.typeMeta()
	switch {
	case d.isList():
		return d.refuse(Issue{
			Field: "kind", Message: fmt.Sprintf("a file holds one Pod and not a %s", kind),
			Hint: "write each pod into a file of its own",
		})
	case kind == "":
		return refuse(d.line(""), "kind is missing")
	case version == "":
		return refuse(d.line(""), "apiVersion is missing")
	case kind != "Pod" || version != "v1":
		return d.refuse(Issue{
			Field: "kind", Message: fmt.Sprintf("only a Pod of apiVersion v1 can be a static pod, not %s %s", version, kind),
		})
	}
	return nil
}

func (d *document) isList() bool {
	_, kind := d.typeMeta()
	return kind == "List" || kind == "PodList"
}

func (d *document) typeMeta() (version, kind string) {
	fields, _ := d.value.(map[string]any)
	version, _ = fields["apiVersion"].(string)
	kind, _ = fields["kind"].(string)
	return version, kind
}

// items returns the items of a list as documents of their own.
func (d *document) items() ([]*document, error) {
	fields, _ := d.value.(map[string]any)
	list, ok := fields["items"].([]any)
	if !ok && fields["items"] != nil {
		return nil, d.refuse(Issue{Field: "items", Message: "is not a list"})
	}
	docs := make([]*document, len(list))
	for i, item := range list {
		data, err := json.Marshal(item)
		if err != nil {
			return nil, fmt.Errorf("write item %d: %w", i, err)
		}
		path := fmt.Sprintf("items[%d]", i)
		docs[i] = &document{json: data, value: item, root: d.find(path)}
		if version, kind := docs[i].typeMeta(); kind != "" && (kind != "Pod" || version != "v1") {
			return nil, d.refuse(Issue{Field: path, Message: fmt.Sprintf("is a %s %s and not a Pod", version, kind)})
		}
	}
	return docs, nil
}
