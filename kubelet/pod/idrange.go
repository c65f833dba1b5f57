package pod

// An IDRange is the users and groups of the node that those of a pod are, which
// has users of its own (KEP-127): its user 0 is First. The zero range means that
// the pod has the users of the node.
type IDRange struct{ First, Count uint32 }
