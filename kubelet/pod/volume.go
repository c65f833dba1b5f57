package pod

// A Volume is where a volume of a pod is on the node. It has one of Path, Device
// and Image.
type Volume struct {
	// Path is the directory or file that containers mount.
	Path string
	// Device is the path of a block device; containers are given it as one.
	Device string
	// Image is the runtime's ID of an image whose files are the volume, and
	// ImageName what the pod calls it.
	Image, ImageName string
	// ReadOnly keeps containers from writing whatever they ask for.
	ReadOnly bool
}

// A SubPath is a part of a volume that a container mounts.
type SubPath struct {
	Container string // its name
	Index     int    // of the mount among those of the container
	Name      string // of the volume in the pod
	Volume    Volume
	Path      string // below the volume; neither absolute nor with ".."
}
