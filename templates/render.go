package templates

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"text/template"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

//go:embed manifests addons
var files embed.FS

// render fills an embedded template. Values are written as JSON, which is YAML
// that needs no thought about quoting.
func render(name string, data any) ([]byte, error) {
	t := template.New(path.Base(name)).Option("missingkey=error").Funcs(template.FuncMap{"json": toJSON})
	t, err := t.ParseFS(files, name)
	if err != nil {
		return nil, fmt.Errorf("parse template %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return b.Bytes(), nil
}

func toJSON(v any) (string, error) {
	data, err := json.Marshal(v)
	return string(data), err
}

// encode writes an object the way people and kubeadm do: sorted keys, and
// without the status that nobody has determined yet.
func encode(object any) ([]byte, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	delete(fields, "status")
	return yaml.Marshal(fields)
}

// decode fills into from YAML or JSON that must fit to the letter.
func decode(data []byte, into any) error {
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return err
	}
	misfits, err := kjson.UnmarshalStrict(raw, into)
	return errors.Join(append(misfits, err)...)
}
