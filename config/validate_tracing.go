package config

import (
	"k8s.io/apimachinery/pkg/util/validation/field"
	tracingv1 "k8s.io/component-base/tracing/api/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// kubeletTracing checks where spans go, and how many of them.
func (v *validator) kubeletTracing(k *kubeletv1beta1.KubeletConfiguration) {
	for _, err := range tracingv1.ValidateTracingConfiguration(k.Tracing, nil, field.NewPath("tracing")) {
		v.add(kindKubelet, err.Field, err.ErrorBody(), "")
	}
}
