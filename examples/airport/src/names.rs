//! The names behind the codes of airlines and airports.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use tramline::Hub;

use crate::bad_rows::BadRows;
use crate::table::Table;

#[derive(Clone)]
pub struct Names {
    airlines: Arc<HashMap<String, String>>,
    airports: Arc<HashMap<String, String>>,
    pub bad_rows: u64,
}

impl Names {
    pub fn load(hub: &Hub, airlines: &Path, airports: &Path) -> Result<Self, Box<dyn Error>> {
        let mut bad_rows = BadRows::new(hub);
        let airlines = load(Table::open(airlines, ["carrier", "name"])?, &mut bad_rows)?;
        let airports = load(Table::open(airports, ["faa", "name"])?, &mut bad_rows)?;
        Ok(Self { airlines: Arc::new(airlines), airports: Arc::new(airports), bad_rows: bad_rows.count() })
    }

    /// The name of an airline, or its code.
    pub fn airline<'a>(&'a self, code: &'a str) -> &'a str {
        self.airlines.get(code).map_or(code, String::as_str)
    }

    /// The name of an airport; some that are flown to are in no list.
    pub fn airport(&self, code: &str) -> Option<&str> {
        self.airports.get(code).map(String::as_str)
    }
}

fn load(mut table: Table<2>, bad_rows: &mut BadRows) -> Result<HashMap<String, String>, Box<dyn Error>> {
    let mut names = HashMap::new();
    while let Some(row) = table.next_row()? {
        match row {
            Ok(row) => {
                let [code, name] = row.fields().map(|field| field.text().to_owned());
                names.insert(code, name);
            }
            Err(fault) => bad_rows.publish(fault)?,
        }
    }
    Ok(names)
}
