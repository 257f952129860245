//! Adapters to openraft; no decisions. `types` fixes the type configuration and is the one home of conversions between
//! openraft's types and our own persisted and transmitted forms.
