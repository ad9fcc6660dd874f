package conformance

var sizeTests = []test{}
