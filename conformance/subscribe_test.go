package conformance

var subscribeTests = []test{}
